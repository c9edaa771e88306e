// Sharing: a link to the run, and its answers as a picture, drawn here from what the board shows.
const WIDTH = 1200, EDGE = 48, GAP = 32, INSET = 24, LINE_STEP = 31, MOST_LINES = 44;
const TYPEFACE = 'system-ui, sans-serif';

function shareButtons() {
  const link = shareButton('Copy link', copyLink), picture = shareButton('Download picture', downloadPicture);
  const field = make('input', 'link');
  Object.assign(field, { readOnly: true, hidden: true });
  field.setAttribute('aria-label', 'The link; copy it from here');
  return [link, picture, field];
}

function shareButton(words, act) {
  const button = make('button', 'save', words);
  button.type = 'button';
  button.addEventListener('click', () => act(button));
  return button;
}

// Words on a button for two seconds, told to screen readers.
function answerOn(button, words) {
  const before = button.dataset.words ||= button.textContent;
  button.setAttribute('aria-live', 'polite');
  button.textContent = words;
  clearTimeout(button.timer);
  button.timer = setTimeout(() => { button.textContent = before; }, 2000);
}

// The address of the run, without what else may stand in this one.
function link() {
  const url = new URL(window.location.pathname, window.location.origin);
  if (shownRun !== OPENING) url.searchParams.set('run', shownRun);
  return url.href;
}

async function copyLink(button) {
  const field = button.parentNode.querySelector('.link');
  field.value = link();
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {  // refused, as in a frame, or not there without https: an old way, or by hand
    field.hidden = false;
    field.select();
    if (!document.execCommand('copy')) { answerOn(button, 'Copy it from here →'); return; }
    field.hidden = true;
    button.focus();
  }
  answerOn(button, 'Copied');
}

function downloadPicture(button) {
  drawPicture().toBlob(blob => {
    const file = make('a');
    file.href = URL.createObjectURL(blob);
    file.download = `realign-${shownRun}.png`;
    file.click();
    setTimeout(() => URL.revokeObjectURL(file.href), 1000);
    answerOn(button, 'Downloaded');
  });
}

// The prompt and all lanes as a card of WIDTH, in the colours of the page's theme. Returns a canvas.
function drawPicture() {
  const canvas = make('canvas'), pen = canvas.getContext('2d'), dark = document.body.classList.contains('dark');
  const paint = dark
    ? { back: '#0b0f19', card: '#111827', edge: '#374151', ink: '#f3f4f6', soft: '#a7b0be', high: '96, 150, 255', low: '255, 150, 80', full: .5 }
    : { back: '#f8fafc', card: '#ffffff', edge: '#d5dbe5', ink: '#1f2937', soft: '#5b6472', high: '37, 99, 235', low: '213, 94, 0', full: .38 };
  const columns = Math.min(2, lanes.length), width = (WIDTH - 2 * EDGE - (columns - 1) * GAP) / columns;
  const font = (size, weight = 400) => { pen.font = `${weight} ${size}px ${TYPEFACE}`; };
  font(30, 650);
  const prompt = wrapped(pen, [{ text: `“${shownPrompt}”` }], WIDTH - 2 * EDGE).slice(0, 5);
  const cards = lanes.map(lane => {
    font(18);
    const facts = wrapped(pen, [{ text: [...lane.data.options, lane.forked.textContent].filter(Boolean).join(' · ') }], width - 2 * INSET).slice(0, 3);
    font(21);
    const lines = wrapped(pen, tokensOf(lane), width - 2 * INSET);
    if (lines.length > MOST_LINES) lines.splice(MOST_LINES, Infinity, [{ text: '…', x: 0, width: 20 }]);
    return { lane, facts, lines, height: 2 * INSET + 34 + facts.length * 25 + lines.length * LINE_STEP + 44 };
  });
  const rows = [];
  for (let i = 0; i < cards.length; i += columns) rows.push(cards.slice(i, i + columns));
  const heights = rows.map(row => Math.max(...row.map(card => card.height)));
  const top = EDGE + prompt.length * 40 + 20;
  canvas.width = WIDTH;
  canvas.height = top + heights.reduce((sum, height) => sum + height + GAP, 0) + 40;
  pen.fillStyle = paint.back;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.textBaseline = 'middle';
  const write = (lines, x, y, step, room) => lines.forEach((line, row) => {
    const rtl = /[\u0590-\u08ff]/.test(line.map(part => part.text).join(''));
    pen.direction = 'ltr';
    for (const part of line) {
      const left = x + (rtl ? room - part.x - part.width : part.x), middle = y + row * step + step / 2;
      if (part.heat) {
        pen.fillStyle = `rgba(${part.heat < 0 ? paint.low : paint.high}, ${Math.min(1, Math.abs(part.heat)) * paint.full})`;
        pen.fillRect(left, middle - step / 2 + 2, part.width, step - 4);
      }
      pen.fillStyle = part.soft ? paint.soft : paint.ink;
      pen.fillText(part.text, left, middle);
    }
  });
  font(30, 650);
  write(prompt, EDGE, EDGE, 40, WIDTH - 2 * EDGE);
  let y = top;
  rows.forEach((row, number) => {
    row.forEach((card, column) => {
      const x = EDGE + column * (width + GAP), { title, colour } = card.lane.data, inner = x + INSET;
      pen.beginPath();
      pen.roundRect(x, y, width, heights[number], 12);
      pen.fillStyle = paint.card; pen.fill();
      pen.strokeStyle = paint.edge; pen.stroke();
      pen.beginPath();
      pen.arc(inner + 8, y + INSET + 15, 8, 0, 7);
      pen.fillStyle = card.lane.data.hue; pen.fill();
      pen.fillStyle = paint.ink; font(24, 650);
      pen.fillText(title, inner + 26, y + INSET + 15);
      font(18);
      write(card.facts.map(line => line.map(part => ({ ...part, soft: true }))), inner, y + INSET + 34, 25, width - 2 * INSET);
      font(21);
      write(card.lines, inner, y + INSET + 40 + card.facts.length * 25, LINE_STEP, width - 2 * INSET);
      if (!colour) return;
      const foot = y + heights[number] - 26, both = card.lane.data.heat.some(heat => heat < 0);
      font(16); pen.fillStyle = paint.soft;
      const words = `${colour.title}  ${both ? `−${colour.full}` : '0'}`, from = inner + pen.measureText(words).width + 8;
      pen.fillText(words, inner, foot);
      const ramp = pen.createLinearGradient(from, 0, from + 80, 0);
      ramp.addColorStop(0, both ? `rgba(${paint.low}, ${paint.full})` : `rgba(${paint.high}, 0)`);
      if (both) ramp.addColorStop(.5, `rgba(${paint.high}, 0)`);
      ramp.addColorStop(1, `rgba(${paint.high}, ${paint.full})`);
      pen.fillStyle = ramp; pen.fillRect(from, foot - 7, 80, 14);
      pen.strokeRect(from, foot - 7, 80, 14);
      pen.fillStyle = paint.soft; pen.fillText(`≥ ${colour.full}`, from + 88, foot);
    });
    y += heights[number] + GAP;
  });
  font(20, 600); pen.fillStyle = paint.soft;
  pen.fillText(`Realign Playground · ${link()}`, EDGE, y + 2, WIDTH - 2 * EDGE);
  return canvas;
}

// The tokens of an answer as parts with their colours.
function tokensOf({ data }) {
  const known = data.fork?.at ?? 0, full = data.colour?.full ?? 1;
  return data.pieces.map((text, i) => ({ text, soft: i < known, heat: i < known ? 0 : (data.heat[i] || 0) / full }));
}

// Parts in lines no wider than `room`, broken between words, and inside one that is wider: [[{ text, x, width, … }]].
function wrapped(pen, parts, room) {
  const lines = [[]];
  let x = 0, word = [];
  const put = part => { lines.at(-1).push({ ...part, x }); x += part.width; };
  const next = () => { lines.push([]); x = 0; };
  const flush = () => {
    const wide = word.reduce((sum, part) => sum + part.width, 0);
    if (x && x + wide > room) next();
    for (const part of wide > room ? word.flatMap(letters) : word) {
      if (x && x + part.width > room) next();
      put(part);
    }
    word = [];
  };
  const sized = (part, text) => ({ ...part, text, width: pen.measureText(text).width });
  const letters = part => [...part.text].map(text => sized(part, text));
  for (const part of parts) {
    for (const text of part.text.match(/\n|[^\S\n]+|\S+/g) || []) {
      if (text.trim()) { word.push(sized(part, text)); continue; }
      flush();
      if (text === '\n') { next(); continue; }
      const space = sized(part, text);
      if (x && x + space.width <= room) put(space);
    }
  }
  flush();
  return lines;
}
