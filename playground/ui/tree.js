// A search, as a tree or as beams: replays its steps, over the whole width below the answers. drawing.js draws the
// picture. Everything written goes through textContent.
const GOOD = [0, 114, 178], NONE = [150, 158, 170], BAD = [213, 94, 0];  // blue to orange: told apart by everybody
const SPEEDS = [['1 ×', 600], ['4 ×', 150], ['16 ×', 40]];

// `full`: the value with the strongest colour, and its opposite.
function valueColour(value, known, full) {
  if (!known) return `rgb(${NONE})`;
  const v = Math.max(-1, Math.min(1, value / full)), to = v < 0 ? BAD : GOOD, share = Math.abs(v);
  return `rgb(${NONE.map((c, i) => Math.round(c + (to[i] - c) * share))})`;
}

// A view of one lane's search. `fetchSteps(from)` brings the steps from that number on, `fetchQuestions()` what was asked.
function newTree(fetchSteps, fetchQuestions) {
  const view = { steps: [], at: 0, live: true, busy: false, wanted: 0, fetchQuestions, focus: null, nodes: new Map(), applied: 0, full: 1, committed: [],
    root_: make('section', 'tree'), title: make('h3'), options: make('span', 'options'), judge: make('p', 'judge'), beams: false, box: make('div', 'drawing'), canvas: make('canvas'),
    tip: make('div', 'tip'), says: make('p', 'says'), outline: make('div', 'outline'), panel: make('div', 'node'), slider: make('input'), count: make('output') };
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
  view.canvas.tabIndex = 0;
  view.tip.hidden = true;
  view.panel.tabIndex = 0;
  view.panel.setAttribute('role', 'group');
  view.panel.setAttribute('aria-label', 'The chosen piece of text');
  listen(view);
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
  const head = make('header'), seen = make('div', 'seen');
  head.append(view.title, view.options);
  view.box.append(view.canvas, view.tip);
  seen.append(view.box, view.panel, view.outline);
  view.root_.append(head, view.judge, player, view.says, key, seen);
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
    if (location.hash === '#play' && !view.replayed && !calm()) { view.replayed = true; lift(view.root_); play(view); }
  };
  new ResizeObserver(() => drawTree(view)).observe(view.root_);
  return view;
}

// A search comes into view as far as the answers above it stay there.
function lift(search) {
  const answers = board().getBoundingClientRect().top - 40, hidden = search.getBoundingClientRect().bottom - innerHeight;
  scrollBy({ top: Math.max(0, Math.min(answers, hidden)), behavior: 'smooth' });
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
    keyed('no value yet', `border:2px solid rgb(${NONE})`), keyed('in the answer', `background:${TAKEN};border-radius:0;height:.25rem`),
    keyed(view.beams ? 'kept now' : 'looked at now', 'background:currentColor;border-radius:0;height:.15rem'), keyed('chosen', 'border:2px solid currentColor'));
  if (view.beams) key.append(keyed('dropped', `background:rgb(${NONE});opacity:${FADED}`));
  else key.append(keyed('more visits', `background:rgb(${NONE});border-radius:0;height:.4rem`), make('span', '', '↶ rewind: the model alone would have written something else'));
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
  view.tip.removeAttribute('role');
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
  view.tip.setAttribute('role', 'status');
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
    view.nodes = new Map(); view.applied = 0; view.committed = [];
  }
  if (!view.nodes.size) view.nodes.set(0, { id: 0, parent: null, text: '', visits: 0, value: 0, prior: 1, children: [], similar: 0 });
  while (view.applied < view.at) apply(view, view.steps[view.applied++]);
  const step = view.steps[view.at - 1];
  view.focus = step ? focusOf(view, step) : 0;
  view.says.textContent = step ? inWords(view, step) : 'The search has not begun.';
  showCount(view);
  drawTree(view);
  drawOutline(view);
  drawNode(view);
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
  if (step.kind === 'commit') take(view, step.node, step.rewind);
  if (step.kind === 'take') for (const node of step.path) take(view, node, false);
  if (step.kind === 'keep') drop(view, new Set(step.nodes));
}

// A node joins the answer; what it was worth then stays known, since texts below it are still to be evaluated.
function take(view, id, rewind) {
  const node = view.nodes.get(id), others = siblings(view, node).filter(hasValue);
  Object.assign(node, { rewind, joined: { value: valueOf(node), others: others.length, good: others.filter(other => valueOf(other) > 0).length } });
  view.committed.push(id);
}

const siblings = (view, node) => (view.nodes.get(node.parent)?.children || []).filter(id => id !== node.id).map(id => view.nodes.get(id));

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
  const text = id => id ? quoted(view.nodes.get(id)?.text ?? '') : 'the prompt';
  if (step.kind === 'select') return `A path is chosen: it ends at ${text(step.path.at(-1))}.`;
  const parent = text(step.node);
  if (step.kind === 'expand') return `After ${parent}: ${counted(step.children.length, view.beams ? 'chunk' : 'candidate')}.`;
  if (step.kind === 'widen') return `What follows ${parent} is all alike, and all of it is bad: one more candidate.`;
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
  const taken = `${text(step.node)} joins the answer`, why = whyTaken(view, view.nodes.get(step.node));
  return `${step.rewind ? `Rewind: ${taken}. The model alone would have written something else.` : `${taken}.`} ${why}`.trim();
}

// Why something bad stands in the answer.
function whyTaken(view, node) {
  if (!node.joined || valueOf(node) >= 0) return '';
  if (view.beams) return 'Its score is below 0; scores are only compared, and the best ones of a step are kept however low they are.';
  const { value, others, good } = node.joined;
  if (value >= 0) return `Why is it orange? It was worth ${fixed(value)} when it was taken; the texts after it that were evaluated later are worse.`;
  const beside = good ? `${good} of the ${others} others ${good === 1 ? 'was' : 'were'} better, but looked at less often` : others ? `none of the ${counted(others, 'other')} that had a value was good` : 'no other had a value';
  return `Why is it orange? When the rounds for a place are over, the search takes what it looked at most; ${beside}.`;
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
  const path = pathTo(view, view.nodes.has(view.chosen) ? view.chosen : view.focus ?? 0);
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
  const node = view.nodes.get(view.chosen) ?? view.nodes.get(view.focus ?? 0);
  if (view.drawnNode === node && node.drawnAt === view.at) return;  // an opened question stays open
  view.drawnNode = node; node.drawnAt = view.at;
  const facts = make('dl'), value = hasValue(node) ? fixed(valueOf(node), 3) : '–';
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
  const why = whyTaken(view, node), others = siblings(view, node);
  if (why) parts.push(make('p', 'why', why));
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
