// The arena's stage: two answers that appear at one pace, then who wrote them. All text goes through textContent.
let shownBattle = null, typing = null;

function part(tag, cls, ...inside) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  node.append(...inside);
  return node;
}

// Two cards: the same dots in both while both are written, so that nothing tells which of them takes longer.
function cards(inside) {
  const both = part('div', 'both');
  for (const side of ['a', 'b']) both.append(part('section', 'side', part('header', '', part('h3', '', `Answer ${side.toUpperCase()}`)), ...inside(side)));
  return both;
}

// A page that was scrolled down goes up to what is new.
function intoView(stage) { if (stage.getBoundingClientRect().top < 0) stage.scrollIntoView(); }

// The button that was pressed is gone or disabled; who uses the keyboard goes on from here.
function keepFocus(button) {
  const lost = () => document.activeElement === document.body || document.activeElement.matches(':disabled');
  setTimeout(() => { if (lost()) document.querySelector(button)?.focus({ preventScroll: true }); }, 100);
}

// "the careful model, greedy"
function who({ models, how }) {
  const words = part('span');
  models.forEach((model, i) => words.append(i ? ' and ' : 'the ', part('em', '', model)));
  words.append(models.length ? ` model${models.length > 1 ? 's' : ''}, ${how}` : how);
  return words;
}

function badge({ choice, a, b }) {
  const root = part('p', `badge ${choice}`);
  root.setAttribute('role', 'status');
  if (choice === 'tie') root.append('A tie: ', who(a.who), ' against ', who(b.who));
  else if (choice === 'both_bad') root.append('Both bad: ', who(a.who), ' and ', who(b.who));
  else root.append('You preferred ', who({ a, b }[choice].who));
  return root;
}

function revealed(side, { choice, [side]: lane }) {
  const name = part('p', 'who', who(lane.who)), { seconds, forward_tokens } = lane.cost;
  if (choice === side) name.append(part('span', 'won', 'your choice'));
  const facts = part('p', 'facts', `${lane.label} · ${seconds.toFixed(1)} s · ${forward_tokens.toLocaleString()} tokens computed`);
  return [name, facts, ...(lane.withheld === undefined ? [] : [part('p', 'withheld', `abstained; withheld answer: ${lane.withheld || '(empty)'}`)])];
}

function draw() {
  const stage = element.querySelector('.stage'), value = props.value;
  if (!stage) return;
  clearInterval(typing);
  if (!value) { stage.replaceChildren(part('p', 'empty', 'Two hidden methods will answer one prompt. Press New battle.')); return; }
  if (value.waiting) {
    const dots = () => { const root = part('div', 'words dots', part('i'), part('i'), part('i')); root.setAttribute('aria-hidden', 'true'); return root; };
    const told = part('p', 'asked', value.waiting);
    told.setAttribute('role', 'status');
    stage.replaceChildren(told, cards(() => [dots()]));
    intoView(stage);
    return;
  }
  const words = { a: part('div', 'words', value.a), b: part('div', 'words', value.b) };
  if (value.shown) {
    const link = part('a', '', 'Open this battle in Compare');
    link.href = '?' + new URLSearchParams({ run: value.shown.run });
    const told = badge(value.shown);
    stage.replaceChildren(told, part('p', 'asked', value.prompt), cards(side => [...revealed(side, value.shown), words[side]]), link);
    intoView(stage);
    keepFocus('#next-battle');
    return;
  }
  stage.replaceChildren(part('p', 'asked', value.prompt), cards(side => [words[side]]));
  if (value.battle === shownBattle) return;
  shownBattle = value.battle;
  intoView(stage);
  keepFocus('#vote-a');
  const longest = Math.max(value.a.length, value.b.length), step = Math.max(2, Math.ceil(longest / 80));
  let at = 0;
  typing = setInterval(() => {
    at += step;
    // What is still to come takes its room already, so that nothing below moves.
    for (const side of ['a', 'b']) words[side].replaceChildren(value[side].slice(0, at), part('span', 'rest', value[side].slice(at)));
    if (at >= longest) clearInterval(typing);
  }, 30);
}

// Keys: 1 to 4 vote, n asks for the next battle.
document.addEventListener('keydown', event => {
  const typed = event.target.closest && event.target.closest('input:not([type=checkbox]), textarea, select');
  if (typed || event.ctrlKey || event.metaKey || event.altKey || !element.offsetParent) return;
  const name = { 1: 'vote-a', 2: 'vote-b', 3: 'vote-tie', 4: 'vote-both_bad', n: 'next-battle' }[event.key];
  if (name) document.querySelector(`#${name}`)?.click();
});
watch('value', draw);
draw();
