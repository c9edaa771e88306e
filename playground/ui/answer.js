// The answer of the Ask tab with its confidence. All text goes through textContent.
const SVG = 'http://www.w3.org/2000/svg', RADIUS = 54;

function part(tag, cls, ...inside) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  node.append(...inside);
  return node;
}

function drawn(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

// What a score stands for on the dial, 0 to 1: the share of right answers at this score where that is known, else e to
// the power of the score, which is a likelihood per token weighed with P(correct).
function level(score, chances) {
  if (!chances.length) return Math.exp(Math.min(0, score));
  const after = chances.findIndex(([at]) => at >= score);
  if (after < 0) return chances.at(-1)[1];
  if (after === 0) return chances[0][1];
  const [[x0, y0], [x1, y1]] = [chances[after - 1], chances[after]];
  return x1 === x0 ? y1 : y0 + (y1 - y0) * (score - x0) / (x1 - x0);
}

function point(share, radius) {
  const angle = Math.PI * (1 - share);
  return `${(64 + radius * Math.cos(angle)).toFixed(2)} ${(62 - radius * Math.sin(angle)).toFixed(2)}`;
}

function arc(share, cls) {
  return drawn('path', { d: `M ${point(0, RADIUS)} A ${RADIUS} ${RADIUS} 0 0 1 ${point(share, RADIUS)}`, class: cls });
}

function dial(value, given) {
  const share = level(value.confidence, value.chances), least = level(value.threshold, value.chances);
  const percent = `${Math.round(100 * share)} %`, known = value.chances.length > 0;
  const picture = drawn('svg', { viewBox: '0 0 128 76', 'aria-hidden': 'true' });
  picture.append(arc(1, 'all'));
  if (share > 0.002) picture.append(arc(share, given ? 'share' : 'share below'));
  picture.append(drawn('path', { d: `M ${point(least, RADIUS - 11)} L ${point(least, RADIUS + 9)}`, class: 'least' }));
  const number = drawn('text', { x: 64, y: 60, 'text-anchor': 'middle' });
  number.textContent = percent;
  picture.append(number);
  const meter = part('div', 'dial', picture);
  const words = { role: 'meter', 'aria-label': 'Confidence', 'aria-valuemin': 0, 'aria-valuemax': 100,
    'aria-valuenow': Math.round(100 * share),
    'aria-valuetext': `${percent}, threshold ${Math.round(100 * least)} %` };
  for (const [name, what] of Object.entries(words)) meter.setAttribute(name, what);
  meter.append(part('p', '', known ? 'of answers with about this score are right' : 'e to the power of the score; not calibrated'));
  return meter;
}

function number(value) { return value.toFixed(2).replace('-', '−'); }

function draw() {
  const root = element.querySelector('.answer'), value = props.value;
  if (!root) return;
  if (!value || value.confidence === undefined) {
    root.replaceChildren(part('p', 'empty', value && value.waiting ? value.waiting
      : 'Ask a question. The answer appears here with its confidence.'));
    if (value && value.waiting) root.scrollIntoView({ block: 'nearest' });
    return;
  }
  const given = value.confidence >= value.threshold, words = part('div', 'words'), said = part('div', 'said');
  said.setAttribute('role', 'status');
  said.append(part('p', given ? 'given' : 'given none', given ? value.text || '(an empty answer)' : 'I don’t know'));
  words.append(part('p', 'asked', value.question), said);
  if (!given) {
    const open = root.querySelector('details')?.open, withheld = part('details', '', part('summary', '', 'Show the withheld answer'));
    withheld.append(part('p', 'withheld', value.text || '(an empty answer)'));
    withheld.open = Boolean(open);
    words.append(withheld);
  }
  words.append(part('p', 'facts', `score ${number(value.confidence)} · threshold ${number(value.threshold)} · the mark on the dial is the threshold`));
  root.replaceChildren(words, dial(value, given));
}

watch('value', draw);
draw();
