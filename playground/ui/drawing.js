// The drawing of a search, over the whole width: depth to the right, the answer as a straight line that reads as a
// sentence, everything else above and below it. Places follow from all steps that are known, so nothing moves in a replay.
const HEIGHT = 330, PAD = 12, LINE = 14, LINES = 3, FONT = '12px ui-sans-serif, system-ui, sans-serif';
const NARROW = 34, SMALLEST = 56, LARGEST = 150;  // widths of a step in depth: outside the answer, and within it
const UNSEEN = 0.3;                               // of a row: a leaf that nobody looked at
const FADED = 0.5, TAKEN = '#009E73';

// [node] → {depth, parent, children, text, seen}, and the answer as far as it is known.
function wholeTree(steps) {
  const tree = new Map([[0, { depth: 0, parent: null, children: [], text: '', seen: true }]]), answer = [0];
  for (const step of steps) {
    for (const { id, text } of step.children || []) {
      const parent = tree.get(step.node);
      tree.set(id, { depth: parent.depth + 1, parent: step.node, children: [], text, seen: false });
      parent.children.push(id);
    }
    if (step.kind === 'evaluate') tree.get(step.node).seen = true;
    for (const [id] of step.set || []) tree.get(id).seen = true;
    if (step.kind === 'commit') answer.push(step.node);
    if (step.kind === 'take') answer.push(...step.path);
  }
  return { tree, answer };
}

// Where every node stands: {spots: node → [x, y], words: node → lines of text, width}.
function planned(steps, room, ink) {
  const { tree, answer } = wholeTree(steps), main = new Set(answer), deepest = Math.max(1, ...[...tree.values()].map(node => node.depth));
  ink.font = FONT;
  const wanted = Array(deepest + 1).fill(NARROW);
  wanted[0] = 0;
  for (const id of answer.slice(1)) {
    const wide = ink.measureText(tree.get(id).text).width;
    wanted[tree.get(id).depth] = Math.max(SMALLEST, Math.min(LARGEST, wide / 2 + 24));
  }
  const least = wanted.reduce((sum, one) => sum + one, 0), width = Math.max(room, least + 2 * PAD), scale = (width - 2 * PAD) / least;
  const columns = wanted.map(one => one * scale), lefts = columns.reduce((all, one) => [...all, all.at(-1) + one], [PAD]).slice(1);
  const weights = new Map();
  for (const id of [...tree.keys()].reverse()) {  // children come after their parents
    const { children, seen } = tree.get(id);
    weights.set(id, children.length ? children.reduce((sum, child) => sum + weights.get(child), 0) : seen ? 1 : UNSEEN);
  }
  // What branches off goes to the lighter side; what branches off last lies next to the answer.
  const sides = [{ way: -1, weight: 0, all: [] }, { way: 1, weight: 0, all: [] }];
  for (const id of answer) {
    for (const child of tree.get(id).children) {
      if (main.has(child)) continue;
      const side = sides[0].weight <= sides[1].weight ? sides[0] : sides[1];
      side.all.unshift(child);
      side.weight += weights.get(child);
    }
  }
  const rows = sides[0].weight + sides[1].weight, above = answer.length > 1 ? LINE * LINES + 10 : 10, below = 22;
  const row = Math.min(22, (HEIGHT - 2 * PAD - above - below) / Math.max(1, rows));
  const middle = (HEIGHT - above - below - rows * row) / 2 + sides[0].weight * row + above, spots = new Map();
  for (const id of answer) spots.set(id, [lefts[tree.get(id).depth], middle]);
  const put = (id, from, side) => {  // `from`: rows between the answer and this node's part
    let at = from;
    for (const child of tree.get(id).children) { put(child, at, side); at += weights.get(child); }
    const gap = side.way < 0 ? above : below;
    spots.set(id, [lefts[tree.get(id).depth], middle + side.way * (gap + (from + weights.get(id) / 2) * row)]);
  };
  for (const side of sides) side.all.reduce((from, id) => { put(id, from, side); return from + weights.get(id); }, 0);
  const words = new Map(answer.slice(1).map(id => [id, lines(ink, tree.get(id).text, columns[tree.get(id).depth] - 12)]));
  return { spots, words, width };
}

// A text in at most LINES lines of that width; what does not fit is left out.
function lines(ink, text, width) {
  const found = [];
  let line = '';
  for (const piece of text.replace(/\s*\n\s*/g, ' ⏎ ').split(/(?<=\s)/)) {
    if (line && ink.measureText(line + piece.trimEnd()).width > width) { found.push(line.trim()); line = ''; }
    line += piece;
  }
  found.push(line.trim());
  const shown = found.filter(Boolean).slice(0, LINES), fits = words => ink.measureText(words).width <= width;
  if (found.filter(Boolean).length > LINES) shown[LINES - 1] += ' …';
  return shown.map(words => {
    while (words.length > 2 && !fits(words)) words = words.replace(/ ?…$/, '').slice(0, -1) + '…';
    return words;
  });
}

// Draws the search as it is after `view.at` steps.
function drawTree(view) {
  const room = view.box.clientWidth;
  if (room < 50 || !view.nodes.size) return;
  const ink = view.canvas.getContext('2d'), known = `${view.steps.length} ${room}`;
  if (view.planned !== known) { view.plan = planned(view.steps, room, ink); view.planned = known; }
  const { spots, words, width } = view.plan, scale = window.devicePixelRatio || 1;
  view.canvas.width = width * scale; view.canvas.height = HEIGHT * scale;
  view.canvas.style.width = `${width}px`; view.canvas.style.height = `${HEIGHT}px`;
  ink.scale(scale, scale);
  const { color: text, backgroundColor: paper } = getComputedStyle(view.root_), grey = document.body.classList.contains('dark') ? '#475569' : view.beams ? '#94a3b8' : '#cbd5e1';
  const step = view.steps[view.at - 1], ends = step?.kind === 'keep' ? step.nodes : [view.focus ?? 0];
  const lit = new Set(ends.flatMap(id => pathTo(view, id))), taken = new Set([0, ...view.committed]);
  const rank = node => taken.has(node.id) ? 2 : lit.has(node.id) ? 1 : 0;
  for (const node of [...view.nodes.values()].sort((a, b) => rank(a) - rank(b))) {
    if (node.parent === null) continue;
    const [x0, y0] = spots.get(node.parent), [x1, y1] = spots.get(node.id), weight = view.beams ? (node.dropped ? 0.4 : 1) : Math.log2(1 + node.visits) / 1.6;
    ink.globalAlpha = node.dropped ? FADED : 1;
    ink.beginPath();
    ink.moveTo(x0, y0);
    ink.quadraticCurveTo(x0 + (x1 - x0) * 0.08, y1, x1, y1);
    ink.lineWidth = rank(node) ? 1.2 + weight : 0.5 + weight;
    ink.strokeStyle = [grey, text, TAKEN][rank(node)];
    ink.stroke();
  }
  for (const node of view.nodes.values()) {
    const [x, y] = spots.get(node.id), valued = hasValue(node), now = node.id === view.chosen || node.id === view.focus;
    ink.globalAlpha = node.dropped ? FADED : 1;
    ink.beginPath();
    ink.arc(x, y, now ? 6 : valued ? 3.6 : 1.8, 0, 7);
    ink.fillStyle = valued ? nodeColour(view, node) : paper;
    ink.fill();
    if (!valued) { ink.lineWidth = 0.8; ink.strokeStyle = `rgb(${NONE})`; ink.stroke(); }
    if (node.id === view.chosen) { ink.lineWidth = 2.5; ink.strokeStyle = text; ink.stroke(); }
  }
  ink.globalAlpha = 1;
  ink.font = FONT;
  ink.lineJoin = 'round';
  for (const [id, all] of words) {
    const node = view.nodes.get(id);
    if (!node || !(taken.has(id) || lit.has(id))) continue;
    const [x, y] = spots.get(node.parent);
    ink.strokeStyle = paper; ink.lineWidth = 4; ink.fillStyle = text;
    all.forEach((line, i) => {
      const at = [line, x + 9, y - 9 - LINE * (all.length - 1 - i)];
      ink.strokeText(...at);
      ink.fillText(...at);
    });
    if (node.rewind) { ink.font = `700 17px ${FONT.slice(5)}`; ink.fillText('↶', spots.get(id)[0] - 8, y + 21); ink.font = FONT; }
  }
  view.canvas.setAttribute('aria-label', `${view.beams ? 'Beams' : 'A tree'} of ${view.nodes.size} pieces of text; the arrow keys walk along it`);
  showTip(view);
}

// What a node is, beside it: of the one under the pointer, else of the chosen one, else of the one that a step is about.
function showTip(view) {
  const id = view.hover ?? view.chosen ?? (view.live ? undefined : view.focus), node = view.nodes.get(id);
  view.tip.hidden = !node;
  if (!node) return;
  const [x, y] = view.plan.spots.get(id);
  view.tip.replaceChildren(make('b', '', id ? quoted(node.text) : 'the prompt'), make('span', '', factsOf(view, node, view.committed.includes(id)).join(' · ')));
  const wide = view.tip.offsetWidth, left = Math.max(2, Math.min(view.plan.width - wide - 2, x - wide / 2));
  view.tip.style.transform = `translate(${left}px, ${y > HEIGHT * 0.65 ? y - view.tip.offsetHeight - 12 : y + 12}px)`;
  if (view.hover === undefined) bringNear(view, x);
}

// A drawing wider than its box: what it is about comes into sight. The page itself stays where it is.
function bringNear(view, x) {
  const { scrollLeft, clientWidth } = view.box;
  if (x < scrollLeft + 40 || x > scrollLeft + clientWidth - 40) view.box.scrollLeft = x - clientWidth / 2;
}

function nearest(view, event) {
  const box = view.canvas.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
  let best, least = 400;
  for (const id of view.nodes.keys()) {
    const [x, y] = view.plan.spots.get(id), far = (x - px) ** 2 + (y - py) ** 2;
    if (far < least) { least = far; best = id; }
  }
  return best;
}

// The pointer shows, a click chooses; so do the arrow keys: right and left along a path, up and down among siblings.
function listen(view) {
  const hover = id => { if (view.hover !== id) { view.hover = id; showTip(view); } };
  view.canvas.addEventListener('pointermove', event => { if (event.pointerType === 'mouse' && view.plan) hover(nearest(view, event)); });
  view.canvas.addEventListener('pointerleave', () => hover(undefined));
  view.canvas.addEventListener('click', event => {
    const id = view.plan && nearest(view, event);
    if (id !== undefined) { choose(view, id); reveal(view); }
  });
  view.canvas.addEventListener('keydown', event => {
    const id = view.plan && walked(view, event.key);
    if (id === undefined) return;
    event.preventDefault();
    choose(view, id);
  });
}

function walked(view, key) {
  const node = view.nodes.get(view.chosen ?? view.focus ?? 0);
  const byHeight = ids => ids.filter(id => view.nodes.has(id)).sort((a, b) => view.plan.spots.get(a)[1] - view.plan.spots.get(b)[1]);
  if (key === 'Home') return 0;
  if (key === 'ArrowLeft') return node.parent ?? undefined;
  if (key === 'ArrowRight') return node.children.find(id => view.committed.includes(id)) ?? byHeight(node.children)[0];
  if (key !== 'ArrowUp' && key !== 'ArrowDown' || node.parent === null) return undefined;
  const all = byHeight(view.nodes.get(node.parent).children);
  return all[all.indexOf(node.id) + (key === 'ArrowUp' ? -1 : 1)];
}

// The panel of the chosen node comes into view, as far as that needs moving at all.
function reveal(view) {
  view.panel.scrollIntoView({ block: 'nearest', behavior: calm() ? 'auto' : 'smooth' });
}

// Whether somebody has asked for less movement.
const calm = () => window.matchMedia('(prefers-reduced-motion: reduce)').matches;
