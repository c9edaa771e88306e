// Draws a run from plain data. Everything people or models wrote goes through textContent.
const board = () => element.querySelector('.board');
const searches = () => element.querySelector('.searches');
const lanes = [];          // one record of DOM nodes per lane
let shownRun = null;       // its id; of the opening, whose lanes are of several runs, OPENING
const OPENING = 'opening';
let stood = 0;             // px: what `measure` found last
let shownPrompt = '';
let awaited = null;        // the lane that was asked to go on: the next run is this one with a branch beside it
const STATES = { waiting: 'waiting', writing: 'writing', done: 'done', stopped: 'stopped', failed: 'failed', left: 'goes on elsewhere' };
const COSTS = [['generated', 'tokens written', 'Generated tokens: all that were drawn, those of discarded texts too'],
  ['forward', 'tokens computed', 'Forward tokens: all that were put through a model, prompts included'], ['seconds', 'seconds', 'From the first step to the end'],
  ['speed', 'tokens/s', 'Tokens written per second']];
const STAYS = 'A lane beside this one keeps the tokens before; all lanes stay, once they have ended.';
const ENDS = { end: 'end of answer', stop: 'stop string', length: 'hit the length limit', stopped: 'stopped', budget: 'budget spent',
  abstained: 'abstained' };

function make(tag, cls, text) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  return node;
}

function newLane() {
  const root = make('section', 'lane');
  const head = make('header');
  const lane = { root, title: make('h3'), options: make('span', 'options'), state: make('span', 'state'),
    progress: make('progress'), forked: make('p', 'forked'), notice: make('p', 'notice'), text: make('div', 'text'), legend: make('div', 'legend'),
    given: make('p', 'given-key'), decision: make('div', 'decision'),
    scrub: make('div', 'scrub'), price: make('dl', 'price'), look: make('div', 'look'), curves: make('div', 'curves'),
    candidates: make('details', 'candidates'),
    count: 0, figures: {}, pieces: [], follows: true };
  lane.state.setAttribute('role', 'status');
  head.append(lane.title, lane.options, lane.state);
  lane.text.tabIndex = 0;
  lane.text.setAttribute('role', 'group');
  lane.ramp = make('span', 'ramp');
  lane.number = make('span'); lane.low = make('span'); lane.high = make('span');
  const scale = make('span', 'scale');
  scale.append(lane.low, lane.ramp, lane.high);
  lane.legend.append(lane.number, scale);
  for (const [key, label, meaning] of COSTS) {
    const box = make('div'), value = make('dd', '', '–');
    box.title = meaning;
    box.append(make('dt', '', label), value);
    lane.figures[key] = value;
    lane.price.append(box);
  }
  lane.look.setAttribute('aria-live', 'polite');
  addScrub(lane);
  lane.tree = newTree(from => server.steps([...place(lane), from]), () => server.questions(place(lane)));
  lane.tree.root_.hidden = true;
  root.append(head, lane.progress, lane.forked, lane.notice, lane.text, lane.decision, lane.given, lane.legend, lane.look, lane.curves,
    lane.scrub, lane.price, lane.candidates);
  lane.text.addEventListener('click', e => { const t = e.target.closest('.token'); if (t) look(lane, +t.dataset.at); });
  lane.text.addEventListener('keydown', e => step(e, lane));
  lane.text.addEventListener('scroll', () => { lane.follows = lane.text.scrollHeight - lane.text.scrollTop - lane.text.clientHeight < 30; });
  return lane;
}

// [run, number in it] of a lane.
const place = lane => lane.data.place || [shownRun, lanes.indexOf(lane)];

// Arrow keys walk along the tokens, Enter looks at one, Escape closes.
function step(event, lane) {
  const tokens = lane.text.querySelectorAll('.token');
  const at = document.activeElement.classList.contains('token') ? +document.activeElement.dataset.at : -1;
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (move && tokens.length) {
    tokens[Math.max(0, Math.min(tokens.length - 1, at + move))].focus();
    event.preventDefault();
  } else if ((event.key === 'Enter' || event.key === ' ') && at >= 0) {
    look(lane, at);
    event.preventDefault();
  } else if (event.key === 'Escape') close(lane);
}

function close(lane) {
  lane.look.replaceChildren();
  lane.text.querySelectorAll('[aria-pressed=true]').forEach(t => t.setAttribute('aria-pressed', 'false'));
}

async function look(lane, at) {
  const token = lane.text.querySelectorAll('.token')[at], node = lane.data.nodes[at], beams = lane.data.shape === 'beams';
  const again = token.getAttribute('aria-pressed') === 'true' && (node == null || beams);
  close(lane);
  if (again) return;
  token.setAttribute('aria-pressed', 'true');
  if (node != null) {
    go(lane.tree, lane.tree.steps.length);
    choose(lane.tree, node);
    if (!beams) return reveal(lane.tree);
  }
  const record = await server.candidates([...place(lane), at]);
  if (!record) { lane.look.replaceChildren(make('p', 'notice', 'This run is no longer on the server.')); return; }
  const columns = Object.keys(record.top[0] || {}).filter(key => key !== 'id' && key !== 'text');
  const table = make('table', columns.length > 3 ? 'many' : '');
  const caption = make('caption', '', `Token ${at + 1}: “${record.text || '⟨end⟩'}”`);
  for (const [name, value] of Object.entries(record)) if (typeof value === 'number' && !['id', 'node'].includes(name)) caption.append(' · ', plainFact(name, value));
  table.append(caption);
  const header = table.createTHead().insertRow();
  header.append(make('th', '', 'candidate'), ...columns.map(c => make('th', '', c === 'p' ? 'probability' : c)));
  if (lane.data.continues) header.append(make('th', '', ''));
  const body = table.createTBody();
  for (const candidate of record.top) {
    const row = body.insertRow();
    if (candidate.id === record.id) row.className = 'drawn';
    row.insertCell().textContent = visible(candidate.text);
    for (const column of columns) {
      const cell = row.insertCell(), bar = make('span', 'bar');
      const percent = (100 * (candidate[column] ?? 0)).toFixed(1);
      cell.textContent = `${percent}\u00a0%`;
      bar.style.width = `${percent}%`;
      cell.append(bar);
    }
    if (lane.data.continues) row.insertCell().append(takeInstead(lane, at, candidate, candidate.id === record.id));
  }
  lane.look.replaceChildren(table);
  if (lane.data.dial) lane.look.append(turnFrom(lane, at));
}

// A number under its name, as "KL to reference 0.031".
function fact(name, value) {
  const words = { log_prob: 'log p', lambda: 'λ', implicit_sum: 'sum so far' }[name]
    || name.replace(/^kl_to_/, 'KL to ').replace(/_/g, ' ');
  return `${words} ${signed(+value.toFixed(3))}`;
}

// The same of a token in plain words; the field's own come on hover.
function plainFact(name, value) {
  const from = name.match(/^kl_to_(.*)/)?.[1];
  const words = name === 'log_prob' ? `surprise ${signed(+(-value).toFixed(3))}`
    : from ? `drift from ${from === 'reference' ? 'the unaligned model' : from} ${signed(+value.toFixed(3))}` : fact(name, value);
  const part = make('span', '', words);
  part.title = fact(name, value);
  return part;
}

// Keep the tokens before this one, take this candidate, and let the method go on, in a lane beside this one.
function takeInstead(lane, at, candidate, taken) {
  if (taken) return make('span', 'taken', at < lane.data.begin ? 'given' : 'chosen');
  const button = make('button', 'take', 'Use');
  button.append(make('span', 'wide', ' instead'));
  button.type = 'button';
  button.title = `Take this token and write on. ${STAYS}`;
  button.setAttribute('aria-label', `Use “${visible(candidate.text)}” instead and continue from there`);
  button.addEventListener('click', () => goOn(lane, { at, token: candidate.id }));
  return button;
}

// Let this lane go on in a lane beside it; of the opening, whose lanes are of several runs, those shown stay.
function goOn(lane, asked) {
  const [run, number] = place(lane);
  awaited = lane;
  trigger('select', { run, lane: number, ...(shownRun === OPENING && { beside: lanes.map(place) }), ...asked });
}

// Take the answer up to this token and let it go on with the dial turned, in a lane beside this one.
function turnFrom(lane, at) {
  const { title, low, high, value } = lane.data.dial;
  const form = make('form', 'go-on'), label = make('label', '', `Continue from here at ${title} = `), field = make('input');
  Object.assign(field, { type: 'number', min: low, max: high, step: 'any', required: true, value: lane.setting ?? value });
  label.append(field);
  form.append(label, make('button', '', 'Continue'));
  form.lastChild.title = `Write on at this setting. ${STAYS}`;
  form.addEventListener('submit', event => {
    event.preventDefault();
    goOn(lane, { at, dial: +field.value });
  });
  return form;
}

// The dial after the fact: each token stores which other token would win from which setting on.
function addScrub(lane) {
  const label = make('label'), name = make('span'), value = make('output'), says = make('p');
  const write = make('button', 'keep'), keep = make('button', 'keep');
  lane.slider = make('input');
  lane.slider.type = 'range';
  label.append(name, value, lane.slider);
  says.setAttribute('aria-live', 'polite');
  keep.type = write.type = 'button';
  write.title = STAYS;
  write.addEventListener('click', () => goOn(lane, { at: lane.turn, dial: lane.setting }));
  keep.addEventListener('click', () => trigger('apply', { run: shownRun, lane: lanes.indexOf(lane), dial: lane.setting }));
  lane.scrub.append(label, says, write, keep);
  lane.scrub.hidden = true;
  lane.slider.addEventListener('input', () => { lane.setting = +lane.slider.value; scrub(lane); });
  lane.scrubParts = { name, value, says, write, keep };
}

function scrub(lane) {
  const at = lane.setting, { flips, ids, dial } = lane.data, where = `${dial.title} = ${number(at)}`;
  lane.scrubParts.value.textContent = number(at);
  lane.scrubParts.write.textContent = `Write it at ${where}`;
  lane.scrubParts.write.disabled = true;
  lane.scrubParts.keep.textContent = `Keep ${where} as a model`;
  const tokens = lane.text.querySelectorAll('.token');
  tokens.forEach(token => token.classList.remove('turn', 'after'));
  if (lane.scrub.classList.contains('coming') || (at === dial.value && !dial.scheduled)) {
    lane.scrubParts.says.textContent = `The answer was written at this ${dial.title}. Drag to see where the text would change.`;
    return;
  }
  const winner = places => places.filter(place => place[0] <= at).at(-1) || places[0];
  const from = lane.data.fork ? lane.data.begin : 0;  // what a branch has from elsewhere stands
  const turn = flips.findIndex((places, i) => i >= from && winner(places)[1] !== ids[i]);
  if (turn < 0) {
    lane.scrubParts.says.textContent = `At ${where} greedy decoding writes the same text.`;
    return;
  }
  lane.turn = turn;
  lane.scrubParts.write.disabled = false;
  tokens[turn]?.classList.add('turn');
  for (let i = turn + 1; i < tokens.length; i++) tokens[i].classList.add('after');
  lane.scrubParts.says.textContent = `At ${where} greedy decoding differs from token ${turn + 1} on: `
    + `“${visible(winner(flips[turn])[2])}” instead of “${visible(lane.data.pieces[turn])}”.`;
}

const signed = value => String(value).replace('-', '−');
const number = value => signed(+value.toFixed(2));
const visible = text => text.replace(/ /g, '·').replace(/\n/g, '⏎') || '⟨end⟩';

function drawTokens(lane, data) {
  const same = data.pieces.length >= lane.count && lane.pieces.every((p, i) => p === data.pieces[i]);
  if (!same) { lane.text.replaceChildren(); lane.count = 0; lane.pieces = []; lane.follows = true; close(lane); }
  const full = data.colour ? data.colour.full : 1, known = data.fork?.at ?? 0;
  const fresh = document.createDocumentFragment();
  for (let i = lane.count; i < data.pieces.length; i++) {
    const last = i === data.pieces.length - 1 && data.finish === 'end' && !data.pieces[i];
    const token = make('span', last ? 'token end' : 'token', last ? '⟨end⟩' : data.pieces[i]), heat = (data.heat[i] || 0) / full;
    token.classList.toggle('shared', i < known);
    token.classList.toggle('forks', i === data.fork?.at);
    token.classList.toggle('given', i >= known && i < data.begin);
    token.classList.toggle('negative', heat < 0);
    token.dataset.at = i;
    if (!token.textContent.trim()) token.setAttribute('aria-label', visible(token.textContent));
    token.tabIndex = -1;
    token.setAttribute('role', 'button');
    token.setAttribute('aria-pressed', 'false');
    token.style.setProperty('--heat', Math.min(1, Math.abs(heat)).toFixed(3));
    fresh.append(token);
  }
  lane.text.append(fresh);
  lane.count = data.pieces.length;
  lane.pieces = data.pieces.slice();
}

// Long answers scroll along, if nobody has scrolled back. All at once, and behind all changes: every question for a height
// lets the browser lay out everything.
function scrollAlong() { for (const { text, follows } of lanes) if (follows) text.scrollTop = text.scrollHeight; }

// The part of an answer that the lane had to begin with.
function givenWords(data) {
  const last = data.pieces[data.begin - 1], until = last === undefined ? '' : `, ${data.begin > 1 ? 'up to ' : ''}“${visible(last)}”`;
  return `: given, not chosen by the method (the first ${data.begin > 1 ? `${data.begin} tokens` : 'token'}${until})`;
}

// Of a branch: where it goes on from, and with what.
function drawFork(lane, data) {
  lane.forked.hidden = !data.fork;
  if (!data.fork) return;
  const { at, lane: parent } = data.fork, taken = data.begin > at && data.pieces[at];
  const how = taken ? ` with “${visible(taken)}”` : data.dial ? ` at ${data.dial.title} ${number(data.dial.value)}` : '';
  lane.forked.textContent = `continued from token ${at + 1} of lane ${parent + 1}${how}; what is grey was known`;
}

// Whether this run in this state is drawn there already; while a lane works, its answers get further scores.
function drawnAlready(node, data) {
  const wanted = `${shownRun} ${data.status}`, same = node.dataset.drawn === wanted;
  node.dataset.drawn = wanted;
  return same;
}

function drawCandidates(lane, data) {
  lane.candidates.hidden = data.candidates.length === 0;
  if (!data.candidates.length || drawnAlready(lane.candidates, data)) return;
  const list = make('ol');
  const ranked = data.candidates.map((c, i) => [c, i]).sort((a, b) => (b[0].score ?? 0) - (a[0].score ?? 0));
  for (const [candidate, i] of ranked) {
    const item = make('li', i === data.chosen ? 'chosen' : '');
    const scores = Object.entries(candidate).filter(([, value]) => typeof value === 'number').map(([name, value]) => fact(name, value));
    const facts = [`#${i + 1}`, ...(scores.length ? scores : ['not scored']), ...(i === data.chosen ? ['chosen'] : [])];
    item.append(make('b', '', facts.join(' · ')), candidate.text);
    list.append(item);
  }
  lane.candidates.replaceChildren(make('summary', '', `${counted(data.candidates.length, 'answer')} with scores${data.scorer ? ` (${data.scorer})` : ''}`), list);
}

// Of a method that may abstain: how sure it was, and what it did not say.
function drawDecision(lane, data) {
  lane.decision.hidden = !data.decision;
  if (!data.decision || drawnAlready(lane.decision, data)) return;
  const { confidence, threshold, abstained, withheld } = data.decision;
  const facts = [`confidence ${number(confidence)}`, threshold === null ? 'no threshold' : `threshold ${number(threshold)}`, abstained ? 'abstained' : 'answered'];
  lane.decision.replaceChildren(make('p', '', facts.join(' · ')));
  if (!abstained) return;
  const box = make('details');
  box.append(make('summary', '', 'Show the withheld answer'), make('p', 'withheld', withheld || '(an empty answer)'));
  lane.decision.append(box);
}

function drawCurves(lane, data) {
  const curves = data.curves.filter(curve => curve.points.length), drawn = JSON.stringify(curves);
  if (lane.drawnCurves === drawn) return;
  lane.drawnCurves = drawn;
  lane.curves.replaceChildren(...curves.map(drawCurve));
}

// A number over the length of the answer. The drawing is stretched to the lane's width, the words beside it are not.
function drawCurve({ title, points }) {
  const least = at => points.reduce((found, point) => Math.min(found, point[at]), Infinity);
  const largest = at => points.reduce((found, point) => Math.max(found, point[at]), -Infinity);
  const low = least(1), high = largest(1), most = Math.max(1, largest(0)), [first, last] = [points[0], points.at(-1)];
  const x = tokens => 100 * tokens / most, y = value => high > low ? 100 * (high - value) / (high - low) : 50;
  const line = (cls, path) => {
    const drawn = document.createElementNS('http://www.w3.org/2000/svg', 'path');
    drawn.setAttribute('class', cls);
    drawn.setAttribute('d', path);
    return drawn;
  };
  const plot = document.createElementNS('http://www.w3.org/2000/svg', 'svg'), figure = make('figure', 'curve');
  plot.setAttribute('viewBox', '0 0 100 100');
  plot.setAttribute('preserveAspectRatio', 'none');
  plot.setAttribute('role', 'img');
  plot.setAttribute('aria-label', `${title}: ${number(first[1])} after ${counted(first[0], 'token')}, ${number(last[1])} after ${counted(last[0], 'token')}`);
  if (low < 0 && high > 0) plot.append(line('zero', `M0 ${y(0)}H100`));
  plot.append(line('line', points.map(([tokens, value], i) => `${i ? 'L' : 'M'}${x(tokens)} ${y(value)}`).join('')));
  // Lines of no length, with round ends, are dots that no stretching makes ovals.
  plot.append(line('dots', points.map(([tokens, value]) => `M${x(tokens)} ${y(value)}h0`).join('')));
  const below = make('div', 'below'), beside = make('div', 'beside');
  below.append(make('span', '', '0'), make('span', '', 'tokens'), make('span', '', String(most)));
  const marks = high > low ? [number(high), 'value', number(low)] : ['value', number(low), ''];
  beside.append(...marks.map(mark => make('span', '', mark)));
  for (const labels of [below, beside]) labels.setAttribute('aria-hidden', 'true');
  figure.append(make('figcaption', '', title), beside, plot, below);
  return figure;
}

function drawLane(lane, data) {
  lane.data = data;
  for (const part of [lane.root, lane.tree.root_]) part.style.setProperty('--hue', data.hue);
  lane.title.textContent = data.title;
  lane.options.textContent = data.options.join(' · ').replaceAll(',', ',\u200b');  // long ones break at commas
  lane.root.title = data.models.map(([name, what]) => `${name}: ${what}`).join('\n');
  lane.state.className = 'state ' + data.status;
  // A search may hold an answer that has ended while it looks for a better one.
  lane.state.textContent = data.finish && ['done', 'stopped'].includes(data.status) ? ENDS[data.finish] || data.finish : STATES[data.status];
  if (['waiting', 'writing'].includes(data.status)) lane.root.classList.add('live');
  lane.progress.max = data.limit;
  lane.progress.value = data.status === 'done' ? data.limit : data.length;
  lane.progress.setAttribute('aria-label', `${data.length} of at most ${data.limit} tokens`);
  const notices = [data.error, data.warning].filter(Boolean);
  lane.notice.hidden = !notices.length;
  lane.notice.textContent = notices.join(' ');
  lane.text.setAttribute('aria-label', `Answer of ${data.title}; arrow keys walk along its tokens, Enter shows candidates`);
  drawTokens(lane, data);
  drawDecision(lane, data);
  drawFork(lane, data);
  lane.given.hidden = !data.begin || Boolean(data.fork);
  if (!lane.given.hidden) lane.given.replaceChildren(make('span', 'given', 'underlined'), givenWords(data));
  lane.legend.hidden = !data.colour;
  if (data.colour) {
    const { title, full, meaning } = data.colour, both = data.heat.some(heat => heat < 0);
    lane.number.textContent = `${title}: `;
    lane.legend.title = meaning;
    lane.low.textContent = both ? `≤ −${full}` : '0';
    lane.high.textContent = `≥ ${full}`;
    lane.ramp.classList.toggle('both', both);
  }
  const { generated_tokens, forward_tokens, seconds } = data.cost;
  lane.figures.generated.textContent = generated_tokens.toLocaleString();
  lane.figures.forward.textContent = forward_tokens.toLocaleString();
  lane.figures.seconds.textContent = seconds.toFixed(1);
  lane.figures.speed.textContent = seconds > 0.05 ? (generated_tokens / seconds).toFixed(1) : '–';
  drawCandidates(lane, data);
  drawCurves(lane, data);
  lane.tree.root_.hidden = !data.steps;
  lane.root.classList.toggle('searching', Boolean(data.steps));
  lane.tree.options.textContent = lane.options.textContent;
  lane.tree.judge.textContent = data.evaluator;
  lane.tree.title.textContent = `${lanes.indexOf(lane) + 1}. ${data.title}: ${data.shape === 'beams' ? 'its beams' : 'its search'}`;
  lane.tree.shape(data.shape);
  if (data.steps) lane.tree.fetch(data.steps);
  // While a lane writes, its dial has its room already: nothing jumps when it comes.
  const first = lane.scrub.hidden, coming = ['waiting', 'writing'].includes(data.status), was = lane.scrub.classList.contains('coming');
  lane.scrub.hidden = coming ? !data.dial : !data.flips.length;
  lane.scrub.classList.toggle('coming', coming);
  if ((first || was && !coming) && !lane.scrub.hidden) {
    Object.assign(lane.slider, { min: data.dial.low, max: data.dial.high, step: 0.05, value: data.dial.value });
    lane.setting = data.dial.value;
    lane.scrubParts.name.textContent = `What if ${data.dial.title} =`;
    scrub(lane);
  }
}

// Instead of a run: some words, and how far a loading is.
function drawNote(words, share) {
  lanes.length = 0; shownRun = null;
  const note = make('p', 'empty', words);
  // It takes the room of the lanes that it replaces: nothing below jumps.
  note.style.minHeight = `${stood}px`;
  if (share !== undefined) {
    const done = make('progress');
    done.max = 1; done.value = share;
    note.append(document.createElement('br'), done);
  }
  board().style.minHeight = '';
  board().replaceChildren(note);
  searches().replaceChildren();
  return note;
}

// The run waits; the words count down.
function drawQueued(words) {
  const note = drawNote(words);
  note.classList.add('queued');
  note.setAttribute('role', 'status');
}

function newLanes(run, count) {
  lanes.length = 0;
  for (let i = 0; i < count; i++) lanes.push(newLane());
  board().replaceChildren(...lanes.map(lane => lane.root));
  searches().replaceChildren(...lanes.map(lane => lane.tree.root_));
  shownRun = run;
}

// A run has its address, its prompt as the page's title, and its answers in view. Nothing below moves up when it begins.
function show(value) {
  const parent = awaited && board().contains(awaited.root) ? lanes.indexOf(awaited) : -1;
  const branch = value.lanes.length === lanes.length + 1 && value.lanes[parent + 1]?.fork?.lane === parent ? newLane() : null;
  awaited = null;
  if (branch) {
    lanes[parent].root.after(branch.root);
    lanes.splice(parent + 1, 0, branch);
    shownRun = value.run;
  } else {
    newLanes(value.run, value.lanes.length);
    board().style.minHeight = `${stood}px`;
  }
  board().dataset.lanes = value.lanes.length;
  const url = new URL(window.location);
  url.searchParams.set('run', value.run);
  window.history.replaceState(null, '', url);
  document.title = `${value.prompt} · ${document.title.split(' · ').at(-1)}`;
  if (branch) {
    close(lanes[parent]);
    requestAnimationFrame(() => { branch.root.scrollIntoView({ block: 'nearest' }); branch.text.focus({ preventScroll: true }); });
    return;
  }
  const top = board().getBoundingClientRect().top;
  if (top < 0 || top > window.innerHeight / 2) requestAnimationFrame(() => board().scrollIntoView());
}

// Run was pressed: what was shown goes at once, not when the server's first words come.
function clear() {
  if (!document.querySelector('#prompt textarea').value.trim()) return;
  measure();
  element.querySelector('.opening').hidden = true;
  element.querySelector('.after').classList.add('coming');
  drawQueued('The lanes begin …');
}

// How much room the lanes take, with what stands above them.
function measure() {
  if (lanes.length) stood = Math.round(board().getBoundingClientRect().bottom - element.getBoundingClientRect().top);
}

function draw() {
  const value = props.value;
  if (!board()) return;
  const after = element.querySelector('.after'), opening = element.querySelector('.opening');
  const asked = Boolean(new URLSearchParams(window.location.search).get('run'));
  if (!value?.lanes) measure();
  opening.hidden = !value?.opening || asked;
  const ended = value?.lanes ? value.status !== 'running' : Boolean(value?.opening && !asked);
  after.hidden = !ended && !value?.lanes && !value?.queued && !value?.loading;
  after.classList.toggle('coming', !ended);
  if (!after.firstChild) after.append(...shareButtons(), saveButton());
  after.lastChild.hidden = Boolean(value?.opening);
  shownPrompt = value?.opening?.prompt ?? value?.prompt ?? '';
  element.querySelector('.asked').textContent = shownPrompt;
  if (value?.opening) return asked ? drawNote('The run of this address appears here.') : drawOpening(opening, value.opening);
  if (value?.queued) return drawQueued(value.queued);
  if (value?.loading) return drawNote(value.loading.what, value.loading.share);
  if (!value?.lanes) return drawNote('The answers appear here, side by side. Press Run.');
  if (value.run !== shownRun || lanes.length !== value.lanes.length || !board().contains(lanes[0]?.root)) show(value);
  value.lanes.forEach((data, i) => drawLane(lanes[i], data));
  scrollAlong();
  if (value.status !== 'running') board().style.minHeight = '';
}

// The run as a file, to be opened again in the History tab, here or elsewhere.
function saveButton() {
  const button = make('button', 'save', 'Save this run as a file');
  button.type = 'button';
  button.addEventListener('click', async () => {
    const text = await server.saved([shownRun]);
    if (!text) { button.textContent = 'This run is no longer on the server'; return; }
    const link = make('a');
    link.href = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
    link.download = `run-${shownRun}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  return button;
}

// The theme has changed.
new MutationObserver(() => lanes.forEach(lane => drawTree(lane.tree))).observe(document.body, { attributeFilter: ['class'] });
document.addEventListener('run-asked', clear);
document.addEventListener('run-refused', draw);
watch('value', draw);
draw();
