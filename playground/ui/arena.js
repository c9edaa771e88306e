// The arena's stage: two answers that appear at one pace, then who wrote them. All text goes through textContent.
let shownBattle = null, typing = null;

function part(tag, cls, text) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  return node;
}

function card(side, value) {
  const root = part('section', 'side'), head = part('header');
  head.append(part('h3', '', `Answer ${side.toUpperCase()}`));
  const shown = value.shown;
  if (shown && (shown.choice === side)) head.append(part('span', 'won', 'your choice'));
  const text = part('div', 'words', value[side]);
  root.append(head, text);
  if (shown) {
    const facts = part('p', 'facts', `${shown[side].label} · ${shown[side].cost.seconds.toFixed(1)} s · `
      + `${shown[side].cost.forward_tokens.toLocaleString()} forward tokens`);
    root.append(facts);
    if (shown[side].withheld !== undefined) {
      root.append(part('p', 'withheld', `abstained; withheld answer: ${shown[side].withheld || '(empty)'}`));
    }
  }
  return root;
}

function draw() {
  const stage = element.querySelector('.stage'), value = props.value;
  if (!stage) return;
  clearInterval(typing);
  if (!value) { stage.replaceChildren(part('p', 'empty', 'Two hidden methods will answer one prompt. Press New battle.')); return; }
  if (value.waiting) { stage.replaceChildren(part('p', 'empty', value.waiting)); return; }
  const cards = ['a', 'b'].map(side => card(side, value));
  const both = part('div', 'both');
  both.append(...cards);
  stage.replaceChildren(part('p', 'asked', value.prompt), both);
  if (value.shown) {
    const link = part('a', '', 'Open this battle in Compare');
    link.href = '?' + new URLSearchParams({ run: value.shown.run });
    stage.append(link);
  } else if (value.battle !== shownBattle) {
    shownBattle = value.battle;
    const words = cards.map(root => root.querySelector('.words')), texts = [value.a, value.b];
    let at = 0;
    const step = Math.max(2, Math.ceil(Math.max(...texts.map(t => t.length)) / 80));
    typing = setInterval(() => {
      at += step;
      // What is still to come takes its room already, so that nothing below moves.
      words.forEach((node, i) => node.replaceChildren(texts[i].slice(0, at), part('span', 'rest', texts[i].slice(at))));
      if (at >= Math.max(...texts.map(t => t.length))) clearInterval(typing);
    }, 30);
  }
}

document.addEventListener('keydown', event => {
  const typed = event.target.closest && event.target.closest('input:not([type=checkbox]), textarea, select');
  if (typed || event.ctrlKey || event.metaKey || event.altKey || !element.offsetParent) return;
  const name = { 1: 'a', 2: 'b', 3: 'tie', 4: 'both_bad' }[event.key];
  if (name) document.querySelector(`#vote-${name}`)?.click();
});
watch('value', draw);
draw();
