// A lane is one card: its controls are the head, its answer the body. They are parts of two grids of the same columns, so an
// answer moves up to its own controls where a neighbour's stand open. Lanes without an answer come last.
function join() {
  const heads = [...document.querySelectorAll('#lanes > .lane-controls')], cards = [...document.querySelectorAll('#board .lane')];
  const left = node => Math.round(node.getBoundingClientRect().left);
  const label = at => heads[at].querySelector('.label-wrap').textContent.trim();
  const own = (card, at) => heads[at] && label(at).startsWith(`Lane ${at + 1}: ${card.querySelector('h3').textContent}`);
  const theirs = heads.every((head, at) => !at || left(head) > left(heads[at - 1])) && cards.every(own)
    && ![...document.querySelectorAll('#board .opening, #board .asked')].some(node => node.offsetHeight);
  const grid = document.querySelector('#board .board');
  if (grid) grid.style.gridTemplateColumns = theirs && cards.length && cards.length < heads.length ? `repeat(${heads.length}, minmax(0, 1fr))` : '';
  const one = theirs && cards.every((card, at) => left(card) === left(heads[at]));
  heads.forEach((head, at) => head.classList.toggle('joined', one && at < cards.length));
  const gaps = cards.map((card, at) => one && heads[at].getBoundingClientRect().bottom - card.getBoundingClientRect().top);
  cards.forEach((card, at) => {
    card.classList.toggle('joined', one);
    card.style.marginTop = one ? `${Math.round(gaps[at] + (parseFloat(card.style.marginTop) || 0)) - 1}px` : '';
  });
}
// Both are replaced again and again, and grow.
let known = '';
const grown = new ResizeObserver(() => {
  // An answer that grows moves nothing, and to look where things stand lets the browser lay out everything.
  const sizes = [...document.querySelectorAll('#lanes > .lane-controls')].map(head => head.offsetHeight);
  const now = `${sizes} ${document.querySelector('#board .board')?.offsetWidth}`;
  if (now !== known) join();
  known = now;
});
new MutationObserver(changes => {
  if (!changes.some(change => change.target.closest('#lane-row') || change.target.matches('#board, #board .board'))) return;
  grown.disconnect();
  known = '';
  for (const node of document.querySelectorAll('#board .board, #lanes > .lane-controls')) grown.observe(node);
  join();
}).observe(document.documentElement, { childList: true, subtree: true });
// On a phone lanes stand below one another: one that is unfolded folds the others, so that the answers stay near.
document.addEventListener('click', event => {
  const head = event.target.closest('#lanes > .lane-controls > .label-wrap:not(.open)');
  if (!head || !matchMedia('(max-width: 640px)').matches) return;
  for (const other of document.querySelectorAll('#lanes > .lane-controls > .label-wrap.open')) other.click();
}, true);
