// A lane is one card: its controls are the head, its answer the body. They are parts of two grids of the same columns, so an
// answer moves up to its own controls where a neighbour's stand open.
function join() {
  const heads = [...document.querySelectorAll('#lanes > .lane-controls')], cards = [...document.querySelectorAll('#board .lane')];
  const left = node => Math.round(node.getBoundingClientRect().left);
  const label = at => heads[at].querySelector('.label-wrap').textContent.trim();
  const own = at => cards[at] && label(at).startsWith(`Lane ${at + 1}: ${cards[at].querySelector('h3').textContent}`);
  const inARow = at => left(heads[at]) === left(cards[at]) && (!at || left(heads[at]) > left(heads[at - 1]));
  const one = heads.length === cards.length && heads.every((_, at) => own(at) && inARow(at))
    && ![...document.querySelectorAll('#board .opening, #board .asked')].some(node => node.offsetHeight);
  for (const node of [...heads, ...cards]) node.classList.toggle('joined', one);
  const gaps = cards.map((card, at) => one && heads[at].getBoundingClientRect().bottom - card.getBoundingClientRect().top);
  cards.forEach((card, at) => {
    card.style.marginTop = one ? `${Math.round(gaps[at] + (parseFloat(card.style.marginTop) || 0)) - 1}px` : '';
  });
}
// Both are replaced again and again, and grow.
const grown = new ResizeObserver(join);
new MutationObserver(changes => {
  if (!changes.some(change => change.target.closest('#lane-row') || change.target.matches('#board, #board .board'))) return;
  grown.disconnect();
  for (const node of document.querySelectorAll('#board .board, #lanes > .lane-controls')) grown.observe(node);
  join();
}).observe(document.documentElement, { childList: true, subtree: true });
