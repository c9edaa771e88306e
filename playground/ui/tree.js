// A search, as a tree or as beams: replays its steps. Everything written goes through textContent.
const GOOD = [0, 114, 178], NONE = [150, 158, 170], BAD = [213, 94, 0];  // blue to orange: told apart by everybody
const HEIGHT = 240, FADED = 0.4;
const SPEEDS = [['1 ×', 600], ['4 ×', 150], ['16 ×', 40]];

// `full`: the value with the strongest colour, and its opposite.
function valueColour(value, known, full) {
  if (!known) return `rgb(${NONE})`;
  const v = Math.max(-1, Math.min(1, value / full)), to = v < 0 ? BAD : GOOD, share = Math.abs(v);
  return `rgb(${NONE.map((c, i) => Math.round(c + (to[i] - c) * share))})`;
}

// A view of one lane's search. `fetchSteps(from)` brings the steps from that number on, `fetchQuestions()` what was asked.
function newTree(fetchSteps, fetchQuestions) {
  const view = { steps: [], at: 0, live: true, busy: false, wanted: 0, fetchQuestions, focus: null, nodes: new Map(), applied: 0, root: 0, full: 1,
    root_: make('section', 'tree'), judge: make('p', 'judge'), beams: false, canvas: make('canvas'), says: make('p', 'says'), outline: make('div', 'outline'),
    panel: make('div', 'node'), slider: make('input'), count: make('output') };
  const player = make('div', 'player');
  const button = (label, title, act) => {
    const b = make('button', '', label);
    b.type = 'button'; b.title = title; b.setAttribute('aria-label', title);
    b.addEventListener('click', act);
    player.append(b);
    return b;
  };
  // Who steps on looks at the step, no longer at the node chosen before.
  const step = at => { view.chosen = undefined; go(view, at); };
  button('|◀', 'First step', () => step(0));
  button('◀', 'One step back', () => step(view.at - 1));
  view.play = button('Play', 'Play', () => { view.chosen = undefined; play(view); });
  button('▶', 'One step forward', () => step(view.at + 1));
  button('▶|', 'Last step', () => step(view.steps.length));
  Object.assign(view.slider, { type: 'range', min: 0, max: 0, step: 1, value: 0 });
  view.slider.setAttribute('aria-label', 'Step of the search');
  view.slider.addEventListener('input', () => step(+view.slider.value));
  view.speed = make('select');
  view.speed.setAttribute('aria-label', 'Speed');
  for (const [label, ms] of SPEEDS) { const o = make('option', '', label); o.value = ms; view.speed.append(o); }
  view.speed.selectedIndex = 1;
  player.append(view.slider, view.count, view.speed);
  view.canvas.setAttribute('role', 'img');
  view.canvas.addEventListener('click', e => pickNearest(view, e));
  view.says.setAttribute('aria-live', 'polite');
  view.outline.setAttribute('role', 'tree');
  view.outline.setAttribute('aria-label', 'The current path and its alternatives');
  view.outline.addEventListener('keydown', e => {
    const rows = [...view.outline.querySelectorAll('button')], now = rows.indexOf(document.activeElement);
    const move = { ArrowDown: 1, ArrowUp: -1, Home: -rows.length, End: rows.length }[e.key];
    if (move) { rows[Math.max(0, Math.min(rows.length - 1, now + move))]?.focus(); e.preventDefault(); }
  });
  const key = make('p', 'key');
  view.shape = shape => {
    if (view.beams === (shape === 'beams') && key.firstChild) return;
    view.beams = shape === 'beams';
    drawKey(view, key);
  };
  view.root_.append(view.judge, player, view.says, view.canvas, key, view.outline, view.panel);
  view.fetch = async count => {
    view.wanted = Math.max(view.wanted, count);
    if (view.busy) return;
    view.busy = true;
    try {
      while (view.steps.length < view.wanted) {
        const more = await fetchSteps(view.steps.length);
        if (!more || !more.length) { view.wanted = view.steps.length; break; }
        view.steps.push(...more);
        if (view.beams) { fitColours(view); drawKey(view, key); }
        view.slider.max = view.steps.length;
        if (view.live) go(view, view.steps.length, true);
        else showCount(view);
      }
    } finally { view.busy = false; }
  };
  new ResizeObserver(() => drawTree(view)).observe(view.root_);
  return view;
}

// Scores of beams have any size: the colours reach to the largest one of a beam that was kept.
function fitColours(view) {
  const scores = new Map(view.steps.filter(step => step.kind === 'evaluate').map(step => [step.node, step.value]));
  const kept = view.steps.filter(step => step.kind === 'keep').flatMap(step => step.nodes);
  view.full = kept.reduce((most, node) => Math.max(most, Math.abs(scores.get(node) ?? 0)), 0) || 1;
}

// What the colours and lines of the drawing mean.
function drawKey(view, key) {
  const [bad, good] = view.beams ? [`score ${fixed(-view.full)} or less`, `${fixed(view.full)} or more`] : ['bad: −1 or less', 'good: 1 or more'];
  key.replaceChildren(keyed(bad, `background:rgb(${BAD})`), keyed('0', `background:rgb(${NONE})`), keyed(good, `background:rgb(${GOOD})`),
    keyed('no value yet', `border:2px solid rgb(${NONE})`), keyed('in the answer', 'background:#009E73;border-radius:0;height:.25rem'));
  if (view.beams) key.append(keyed('dropped', `background:rgb(${NONE});opacity:${FADED}`));
}

function keyed(words, style) {
  const one = make('span'), dot = make('span', 'dot');
  dot.style.cssText = style;
  one.append(dot, words);
  return one;
}

function showCount(view) {
  view.count.textContent = `${view.at} / ${view.steps.length}`;
  view.slider.value = view.at;
}

function play(view) {
  if (view.timer) return pause(view);
  if (view.at >= view.steps.length) go(view, 0);
  named(view.play, 'Pause');
  view.says.setAttribute('aria-live', 'off');
  const tick = () => {
    go(view, view.at + 1, true);
    if (view.at >= view.steps.length) return pause(view);
    view.timer = setTimeout(tick, +view.speed.value);
  };
  view.timer = setTimeout(tick, +view.speed.value);
}

function pause(view) {
  clearTimeout(view.timer);
  view.timer = null;
  named(view.play, 'Play');
  view.says.setAttribute('aria-live', 'polite');
}

function named(button, name) {
  button.textContent = button.title = name;
  button.setAttribute('aria-label', name);
}

// Show the tree after `at` steps.
function go(view, at, playing = false) {
  if (!playing) pause(view);
  view.at = Math.max(0, Math.min(view.steps.length, at));
  view.live = view.at === view.steps.length;
  if (view.at < view.applied) {
    view.nodes = new Map(); view.applied = 0; view.root = 0; view.committed = [];
  }
  if (!view.nodes.size) { view.nodes.set(0, { id: 0, parent: null, text: '', visits: 0, value: 0, prior: 1, children: [], similar: 0 }); view.committed = []; }
  while (view.applied < view.at) apply(view, view.steps[view.applied++]);
  const step = view.steps[view.at - 1];
  view.focus = step ? focusOf(view, step) : 0;
  view.says.textContent = step ? inWords(view, step) : 'The search has not begun.';
  showCount(view);
  drawTree(view);
  drawOutline(view);
  if (view.chosen === undefined || !view.nodes.has(view.chosen)) view.panel.replaceChildren(); else drawNode(view);
}

function apply(view, step) {
  for (const child of step.children || []) {
    view.nodes.set(child.id, { ...child, parent: step.node, visits: 0, value: 0, children: [], similar: 0 });
    view.nodes.get(step.node).children.push(child.id);
  }
  for (const [id, prior] of step.priors || []) view.nodes.get(id).prior = prior;
  for (const [id, visits, value] of step.set || []) Object.assign(view.nodes.get(id), { visits, value });
  if (step.kind === 'evaluate') view.nodes.get(step.node).evaluation = step;
  if (step.kind === 'similar') view.nodes.get(step.sibling).similar += 1;
  if (step.kind === 'commit') { view.root = step.node; view.committed.push(step.node); }
  if (step.kind === 'take') view.committed.push(...step.path);
  if (step.kind === 'keep') drop(view, new Set(step.nodes));
}

// Only the beams that end in these nodes are kept: whatever leads to none of them is dropped. Of beams with the same
// tokens one is kept.
function drop(view, kept) {
  const written = id => pathTo(view, id).flatMap(at => view.nodes.get(at).tokens || []).join();
  const texts = new Set([...kept].map(written));
  const reaches = id => {
    const node = view.nodes.get(id), below = node.children.map(reaches);
    const alive = kept.has(id) || below.some(Boolean);
    if (!alive && !node.dropped && !below.length) node.again = texts.has(written(id));
    node.dropped = !alive;
    return alive;
  };
  reaches(0);
}

const focusOf = (view, step) => step.path ? step.path.at(-1) : step.nodes ? step.nodes[0] : step.sibling ?? step.node;

// What is known of a node's worth: the mean of its visits, else the judgement of its text.
const hasValue = node => node.visits > 0 || node.evaluation !== undefined;
const valueOf = node => node.visits ? node.value : node.evaluation ? node.evaluation.value : 0;
const nodeColour = (view, node) => valueColour(valueOf(node), hasValue(node), view.full);
const fixed = (value, digits = 2) => signed(value.toFixed(digits));

function pathTo(view, id) {
  const path = [];
  for (let at = id; at !== null && at !== undefined; at = view.nodes.get(at).parent) path.unshift(at);
  return path;
}

// Dots for spaces help with a word or two; they hinder reading a sentence.
const dotted = text => text.length > 14 ? text.replace(/\n/g, '⏎') : visible(text);
const counted = (count, noun) => `${count} ${noun}${count === 1 ? '' : 's'}`;
const tail = text => text.length > 48 ? `…${text.slice(-45)}` : text;
const quoted = text => `“${dotted(text.length > 48 ? text.slice(0, 45) + '…' : text)}”`;

function inWords(view, step) {
  const text = id => quoted(view.nodes.get(id)?.text ?? '');
  if (step.kind === 'select') return `A path is chosen: it ends at ${text(step.path.at(-1))}.`;
  const parent = step.node ? text(step.node) : 'the prompt';
  if (step.kind === 'expand') return `After ${parent}: ${counted(step.children.length, view.beams ? 'chunk' : 'candidate')}.`;
  if (step.kind === 'widen') return `What follows ${parent} is all alike, and none of it is good: one more candidate.`;
  if (step.kind === 'keep') {
    const more = step.nodes.length - 2, named = step.nodes.slice(0, 2).map(text).join(', ');
    return `Kept: ${counted(step.nodes.length, 'beam')}, ${named}${more > 0 ? ` and ${more} more` : ''}. The others are dropped.`;
  }
  if (step.kind === 'evaluate') return `Evaluated ${quoted(view.beams ? tail(step.text) : step.text)}: ${fixed(step.value)}.`;
  if (step.kind === 'backup') return `The value ${fixed(step.value)} is passed back along the path.`;
  if (step.kind === 'similar') return `${text(step.sibling)} reads like ${text(step.node)} (${step.similarity.toFixed(2)}) and gets a part of the value.`;
  if (step.kind === 'take') {
    return `The search ends here. The best text so far is the answer: ${quoted(step.path.map(id => view.nodes.get(id).text).join(''))}.`;
  }
  const taken = `${text(step.node)} joins the answer`;
  return step.rewind ? `Rewind: ${taken}. The model alone would have written something else.` : `${taken}.`;
}

// The whole tree, small: depth to the right, a dot for each node, thicker edges for more visits.
function drawTree(view) {
  const width = view.root_.clientWidth - 2, dark = document.body.classList.contains('dark');
  if (width < 50 || !view.nodes.size) return;
  const order = new Map();
  let leaves = 0, deepest = 1;
  const place = (id, depth) => {
    deepest = Math.max(deepest, depth);
    const node = view.nodes.get(id), shown = node.children;
    const ys = shown.map(child => place(child, depth + 1));
    const y = ys.length ? (ys[0] + ys.at(-1)) / 2 : leaves++;
    order.set(id, { depth, y });
    return y;
  };
  if (view.nodes.size) place(0, 0);
  const height = HEIGHT, scale = window.devicePixelRatio || 1;
  view.canvas.width = width * scale; view.canvas.height = height * scale;
  view.canvas.style.width = width + 'px'; view.canvas.style.height = height + 'px';
  const ink = view.canvas.getContext('2d');
  ink.scale(scale, scale);
  const x = id => 10 + (width - 20) * order.get(id).depth / deepest;
  const y = id => 10 + (height - 20) * (leaves > 1 ? order.get(id).y / (leaves - 1) : 0.5);
  const step = view.steps[view.at - 1], ends = step?.kind === 'keep' ? step.nodes : [view.focus ?? 0];
  const lit = new Set(ends.flatMap(id => pathTo(view, id))), taken = new Set([0, ...(view.committed || [])]);
  for (const node of view.nodes.values()) {
    if (node.parent === null) continue;
    ink.globalAlpha = node.dropped ? FADED : 1;
    ink.beginPath();
    ink.moveTo(x(node.parent), y(node.parent));
    ink.lineTo(x(node.id), y(node.id));
    const weight = view.beams ? (node.dropped ? 0 : 1.5) : Math.log2(1 + node.visits);
    ink.lineWidth = 0.4 + weight;
    ink.strokeStyle = taken.has(node.id) ? '#009E73' : lit.has(node.id) ? (dark ? '#fff' : '#111') : dark ? '#4b5563' : '#cbd5e1';
    ink.stroke();
  }
  for (const node of view.nodes.values()) {
    const known = hasValue(node);
    ink.globalAlpha = node.dropped ? FADED : 1;
    ink.beginPath();
    ink.arc(x(node.id), y(node.id), node.id === view.chosen || node.id === view.focus ? 5 : known ? 3 : 1.6, 0, 7);
    ink.fillStyle = known ? nodeColour(view, node) : dark ? '#1f2937' : '#fff';
    ink.fill();
    if (!known) { ink.lineWidth = 0.8; ink.strokeStyle = `rgb(${NONE})`; ink.stroke(); }
    if (node.id === view.chosen) { ink.lineWidth = 2; ink.strokeStyle = dark ? '#fff' : '#111'; ink.stroke(); }
  }
  view.spots = [...view.nodes.keys()].map(id => [id, x(id), y(id)]);
  view.canvas.setAttribute('aria-label', `${view.beams ? 'Beams' : 'A tree'} of ${view.nodes.size} pieces of text; walk through the list below with the arrow keys`);
}

function pickNearest(view, event) {
  const box = view.canvas.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
  let best = null, least = 400;
  for (const [id, x, y] of view.spots || []) {
    const far = (x - px) ** 2 + (y - py) ** 2;
    if (far < least) { least = far; best = id; }
  }
  if (best !== null) choose(view, best);
}

function choose(view, id) {
  view.chosen = id;
  drawTree(view);
  drawOutline(view);
  drawNode(view);
  const row = view.outline.querySelector('[aria-selected=true]'), box = view.outline;
  const above = row.offsetTop - box.offsetTop, hidden = above < box.scrollTop || above + row.offsetHeight > box.scrollTop + box.clientHeight;
  if (hidden) box.scrollTop = above - box.clientHeight / 2;
}

// The path under way as an indented list with the siblings of every step; all else stays folded.
function drawOutline(view) {
  const path = pathTo(view, view.chosen !== undefined && !view.timer && view.nodes.has(view.chosen) ? view.chosen : view.focus ?? 0);
  const rows = [], taken = new Set(view.committed || []);
  const row = (id, depth) => {
    const node = view.nodes.get(id), b = make('button', path.includes(id) ? 'on' : '');
    b.classList.toggle('dropped', Boolean(node.dropped));
    b.type = 'button';
    b.setAttribute('role', 'treeitem');
    b.setAttribute('aria-level', depth + 1);
    b.setAttribute('aria-selected', id === view.chosen);
    b.style.paddingLeft = `${0.4 + Math.min(depth, 10) * 0.45}rem`;
    b.tabIndex = -1;
    const dot = make('span', 'dot'), bar = make('span', 'visits');
    if (hasValue(node)) dot.style.background = nodeColour(view, node);
    else dot.style.border = `2px solid rgb(${NONE})`;
    bar.style.width = `${Math.min(6, 0.25 * node.visits)}rem`;
    bar.style.background = nodeColour(view, node);
    const folded = node.children.length && !path.includes(id) ? `  (${node.children.length} below)` : '';
    b.append(dot, make('span', 'words', dotted(node.text || (id ? '' : 'prompt')) + folded),
      make('span', 'facts', factsOf(view, node, taken.has(id)).join(' · ')), bar);
    b.addEventListener('click', () => choose(view, id));
    rows.push(b);
  };
  const walk = (at, depth) => {
    row(path[at], depth);
    const better = view.beams ? (a, b) => Boolean(a.dropped) - Boolean(b.dropped) || valueOf(b) - valueOf(a)
      : (a, b) => b.visits - a.visits || b.prior - a.prior;
    const children = view.nodes.get(path[at]).children.map(id => view.nodes.get(id)).sort(better);
    for (const child of children) {
      if (child.id === path[at + 1]) walk(at + 1, depth + 1);
      else row(child.id, depth + 1);
    }
  };
  if (path.length) walk(0, 0);
  const top = view.outline.scrollTop, held = document.activeElement?.parentElement === view.outline;
  (rows.find(r => r.getAttribute('aria-selected') === 'true') ?? rows[0])?.setAttribute('tabindex', 0);
  view.outline.replaceChildren(...rows);
  view.outline.scrollTop = top;
  if (held) rows.find(r => r.getAttribute('aria-selected') === 'true')?.focus();
}

// The facts of a node in a few words.
function factsOf(view, node, taken) {
  const facts = [...(taken ? ['in the answer'] : []), ...(node.dropped ? [node.again ? 'same as a kept one' : 'dropped'] : [])];
  if (!hasValue(node)) return view.beams ? facts : [...facts, `prior ${node.prior.toFixed(2)}`];
  facts.push(fixed(valueOf(node)));
  return node.visits ? [...facts, counted(+node.visits.toFixed(1), 'visit')] : facts;
}

// A probability, however small.
const likely = p => p >= 0.001 ? `${+(100 * p).toPrecision(2)} %` : p > 0 ? `1 in ${Math.round(1 / p).toLocaleString()}` : 'below 1 in 100,000';

function drawNode(view) {
  const node = view.nodes.get(view.chosen);
  if (!node) return;
  const facts = make('dl', 'price'), value = hasValue(node) ? fixed(valueOf(node), 3) : '–';
  const known = view.beams
    ? [['score', value], ['tokens', node.tokens?.length ?? 0], ['probability', likely(node.prior)]]
    : [['value', value], ['prior', node.prior.toFixed(3)], ['visits', node.visits.toFixed(2)], ['similarity updates', node.similar]];
  for (const [name, figure] of known) {
    const box = make('div');
    box.append(make('dt', '', name), make('dd', '', String(figure)));
    facts.append(box);
  }
  const whole = pathTo(view, node.id).map(id => view.nodes.get(id).text).join('');
  const parts = [make('h4', '', 'The text up to here'), make('p', 'whole', whole || '(nothing yet)'), facts];
  const others = (view.nodes.get(node.parent)?.children || []).filter(id => id !== node.id).map(id => view.nodes.get(id));
  if (others.length) {
    const seen = others.filter(hasValue).sort((a, b) => b.visits - a.visits || valueOf(b) - valueOf(a)).slice(0, 6);
    const told = seen.map(o => `${quoted(o.text)} ${fixed(valueOf(o))}`), more = others.length - seen.length;
    parts.push(make('p', 'order', `Alternatives: ${[...told, ...(more ? [`${more} more`] : [])].join(', ')}.`));
  }
  const said = node.evaluation;
  if (said) {
    // What was evaluated is the text above, where a beam was.
    if (!view.beams) parts.push(make('h4', '', `Evaluated: ${fixed(said.value)}`), make('p', 'whole', said.text));
    for (const order of said.orders || []) {
      const goodFirst = order.order === 'good first', good = (order.answer === 'A') === goodFirst;
      parts.push(make('p', 'order', `Asked with (A) ${goodFirst ? 'good, (B) bad' : 'bad, (B) good'}: it chose (${order.answer}), ${good ? 'good' : 'bad'}; `
        + `${Math.round(100 * order.p_good)} % for good.`));
    }
    if (said.orders) {
      const more = make('details');
      more.append(make('summary', '', `The question to the model${said.orders.length > 1 ? ', in both orders' : ''}`));
      more.addEventListener('toggle', async () => {
        if (more.open && more.children.length === 1) more.append(...(await view.fetchQuestions()).map(q => make('pre', '', q)));
      });
      parts.push(more);
    }
  }
  view.panel.replaceChildren(...parts);
}
