// A tour of five steps. It offers itself once, can be left at any time, and points at the page's own elements: of
// `at` the first that can be seen. `tab`: the one that is opened for it. `without`: words where only the last of `at` is.
const TOUR = [
  { tab: 'Compare', at: ['.opening:not([hidden]) input', '.lane .scrub:not([hidden]) input', '#run'], title: 'Drag λ',
    says: 'λ sets how much alignment is used. Drag it and watch the answer turn from complying to refusing. The same dial stands below each DeRa answer that you run.',
    without: 'λ sets how much alignment is used. No answer on the page has a dial now: press Run with a DeRa lane, and drag the one below its answer.' },
  { tab: 'Compare', at: ['.lane:last-child .text', '.lane .text'], title: 'Click a token',
    says: 'Each word part is a token; the colour is a number about it. Click one to see what else could have stood there, take another one, and let the method write on from there.' },
  { tab: 'Compare', at: ['.tree:not([hidden]) .player', '#recorded'], title: 'Play RAIN',
    says: 'RAIN tries pieces of text, judges them, and goes back where they are bad. Press the first card under “Recorded runs”: its search plays below the answers.' },
  { tab: 'Ask', at: ['#ask-examples', '#question'], title: 'See it abstain',
    says: 'Here the model says how sure it is. Ask something that it cannot know: below the threshold it says “I don’t know”.' },
  { tab: 'Arena', at: ['#vote-bar:has(button:not(:disabled))', '#new-battle'], title: 'Vote',
    says: 'Two hidden methods answer one prompt. Say which answer is better; then you see who wrote it, and the ranking moves.' },
];
const tour = { step: -1, box: null, ring: null, from: null };
const seen = () => tour.seen || recall('tour') === 'seen';

function seeTour() {
  tour.seen = true;
  remember('tour', 'seen');
  document.documentElement.classList.remove('new');
}

function startTour(step = 0) {
  seeTour();
  if (tour.box) { leaveTour(); return; }
  const node = (tag, cls) => Object.assign(document.createElement(tag), { className: cls });
  tour.from = document.activeElement;
  tour.ring = node('div', 'tour-ring');
  tour.box = node('section', 'tour-box');
  tour.box.id = 'tour-box';
  tour.box.setAttribute('role', 'dialog');
  tour.box.setAttribute('aria-labelledby', 'tour-title');
  tour.box.setAttribute('aria-describedby', 'tour-says');
  tour.box.addEventListener('click', e => {
    const act = e.target.closest('button')?.className;
    if (act === 'leave') leaveTour();
    if (act === 'back') showStep(tour.step - 1);
    if (act === 'next') { if (tour.step + 1 < TOUR.length) showStep(tour.step + 1); else leaveTour(); }
  });
  document.body.append(tour.ring, tour.box);
  showStep(step);
}

function leaveTour() {
  clearInterval(tour.follow);
  tour.box?.remove();
  tour.ring?.remove();
  tour.box = null;
  tour.step = -1;
  document.querySelector('#tour')?.focus({ preventScroll: true });
}

function showStep(step) {
  const { tab, title, says } = TOUR[step], part = (tag, cls, text) => {
    const made = Object.assign(document.createElement(tag), { className: cls, textContent: text });
    if (tag === 'button') made.type = 'button';
    return made;
  };
  tour.step = step;
  openTab(tab);
  const head = part('h2', '', title), words = part('p', '', says), row = part('div', 'row', ''), leave = part('button', 'leave', '×');
  head.id = 'tour-title';
  words.id = 'tour-says';
  leave.setAttribute('aria-label', 'Leave the tour');
  const next = part('button', 'next', step + 1 < TOUR.length ? 'Next' : 'Done');
  row.append(part('span', '', `${step + 1} of ${TOUR.length}`), ...(step ? [part('button', 'back', 'Back')] : []), next);
  tour.box.replaceChildren(head, words, row, leave);
  next.focus({ preventScroll: true });
  tour.came = false;
  clearInterval(tour.follow);
  tour.follow = setInterval(placeTour, 100);
  placeTour();
}

// On a phone most tabs are in Gradio's list of more tabs, and only there can they be pressed.
function openTab(name) {
  const find = (where, may) => [...document.querySelectorAll(where)].find(tab => tab.textContent.trim() === name && may(tab));
  const tab = find('[role=tab]', tab => tab.offsetParent && !tab.closest('[aria-hidden=true]')) || find('.overflow-dropdown button', () => true);
  if (tab && tab.getAttribute('aria-selected') !== 'true' && !tab.classList.contains('selected')) tab.click();
}

// The ring around what the step is about, the box below it or above it; both follow what moves.
function placeTour() {
  const { at, says, without = says } = TOUR[tour.step];
  const found = at.flatMap(where => [...document.querySelectorAll(where)]).find(node => node.offsetParent);
  const words = found?.matches(at.at(-1)) ? without : says, shown = tour.box.querySelector('#tour-says');
  if (shown.textContent !== words) shown.textContent = words;
  tour.ring.hidden = !found;
  if (!found) { Object.assign(tour.box.style, { left: '.75rem', top: '5rem' }); return; }
  if (!tour.came) { found.scrollIntoView({ block: 'nearest' }); tour.came = true; }
  const { left, top, width, height, bottom } = found.getBoundingClientRect(), { offsetWidth, offsetHeight } = tour.box;
  Object.assign(tour.ring.style, { left: `${left - 6}px`, top: `${top - 6}px`, width: `${width + 12}px`, height: `${height + 12}px` });
  const below = bottom + 14, above = top - 14 - offsetHeight, most = innerHeight - offsetHeight - 12;
  const y = below <= most ? below : above >= 12 ? above : most;
  tour.box.style.top = `${Math.max(12, y)}px`;
  tour.box.style.left = `${Math.max(12, Math.min(left, innerWidth - offsetWidth - 12))}px`;
}

document.documentElement.classList.toggle('new', !seen());
document.addEventListener('click', e => {
  if (e.target.closest('#tour')) startTour();
  else if (e.target.closest('#run')) seeTour();
  // A recorded run is another page: the tour goes on there.
  else if (tour.box && e.target.closest('a[href^="?run="]')) remember('tour-step', String(tour.step));
});
document.addEventListener('keydown', e => {
  if (e.key !== 'Escape' || !tour.box) return;
  e.stopImmediatePropagation();
  leaveTour();
}, true);
const tourLeftAt = recall('tour-step');
if (tourLeftAt) {
  remember('tour-step', '');
  const wait = setInterval(() => { if (document.querySelector('.lane')) { clearInterval(wait); startTour(+tourLeftAt); } }, 200);
}
