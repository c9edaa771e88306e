// In another site's frame a browser may keep nothing: reading then throws, also in Gradio's own components. What is kept
// then lasts as long as the page.
for (const name of ['localStorage', 'sessionStorage']) {
  try { window[name].getItem(''); } catch {
    const kept = new Map();
    const storage = {
      getItem: key => kept.get(String(key)) ?? null, setItem: (key, value) => { kept.set(String(key), String(value)); },
      removeItem: key => { kept.delete(String(key)); }, clear: () => kept.clear(),
      key: at => [...kept.keys()][at] ?? null, get length() { return kept.size; },
    };
    Object.defineProperty(window, name, { value: storage, configurable: true });
  }
}
document.documentElement.classList.toggle('framed', window.top !== window.self);
// The page in its own tab shows the same run. Signing in needs that tab: the Hub's own page cannot be framed.
document.addEventListener('click', e => {
  const link = document.querySelector('#own-tab a');
  if (e.target.closest('#own-tab a')) link.search = location.search;
  if (e.target.closest('#login') && window.top !== window.self) {
    e.stopImmediatePropagation();
    window.open(new URL('login/huggingface?_target_url=/', link.href), '_blank', 'noopener');
  }
}, true);
// What this browser keeps of the page.
const recall = name => localStorage.getItem(`realign-playground-${name}`);
const remember = (name, value) => { try { localStorage.setItem(`realign-playground-${name}`, value); } catch { /* it is full */ } };
// Paper is white.
let printedDark = false;
window.addEventListener('beforeprint', () => { printedDark = document.body.classList.contains('dark'); document.body.classList.remove('dark'); });
window.addEventListener('afterprint', () => { if (printedDark) document.body.classList.add('dark'); });
// What is tried next clears the errors before it.
document.addEventListener('click', e => {
  if (e.target.closest('button') && !e.target.closest('.toast-wrap')) document.querySelectorAll('.toast-close.error').forEach(button => button.click());
}, true);
// Run that is pressed before Gradio has drawn the lanes runs when it has.
document.addEventListener('click', e => {
  const button = e.target.closest('#run'), drawn = () => document.querySelector('.lane-controls');
  if (!button || drawn()) return;
  const later = setInterval(() => { if (drawn()) { clearInterval(later); setTimeout(() => button.click(), 300); } }, 100);
}, true);
// The Arena's address: the tab opens, and a battle begins if none stands there.
function toArena() {
  const later = setInterval(() => {
    const button = visible('#new-battle'), stage = visible('#stage .stage > *');
    if (!button) openTab('Arena');
    // Who votes must have the server's id; sealed, it is longer than a sealed nothing.
    if (!button || !stage || !(recall('visitor')?.length > 100)) return;
    clearInterval(later);
    if (stage.matches('.empty')) setTimeout(() => button.click(), 100);
  }, 100);
}
document.addEventListener('click', e => {
  if (!e.target.closest('a[href="#arena"]')) return;
  e.preventDefault();  // the page of a run is another address than Gradio's base
  window.history.pushState(null, '', `${location.pathname}#arena`);
  toArena();
});
if (location.hash === '#arena') toArena();
// A word at the foot of the page, also for those who only hear it.
function say(words) {
  const said = document.querySelector('#said') || document.body.appendChild(Object.assign(document.createElement('p'), { id: 'said' }));
  said.setAttribute('role', 'status');
  said.textContent = words;
  clearTimeout(said.timer);
  said.timer = setTimeout(() => { said.textContent = ''; }, 8000);
}
// Gradio puts a number beside a slider back between its ends without a word.
document.addEventListener('blur', e => {
  const { target: field } = e, name = field.getAttribute?.('aria-label')?.match(/^number input for (.*)/)?.[1];
  if (!name || Number.isNaN(field.valueAsNumber)) return;
  const [value, low, high] = [field.valueAsNumber, +field.min, +field.max], used = Math.min(high, Math.max(low, value));
  if (used !== value) say(`${name} goes from ${low.toLocaleString()} to ${high.toLocaleString()}: instead of ${value.toLocaleString()}, ${used.toLocaleString()} is used.`);
}, true);
// Gradio calls a list open that is hidden because the focus has gone on.
for (const event of ['focusin', 'focusout', 'click', 'keyup']) document.addEventListener(event, e => {
  const field = e.target;
  if (field.matches?.('[role=combobox]')) setTimeout(() => {
    const list = document.getElementById(field.getAttribute('aria-controls'));
    field.setAttribute('aria-expanded', String(Boolean(list?.offsetParent)));
  }, 50);
});
// Keys of the whole page: Ctrl + Enter runs what the open tab is for, Escape stops.
const visible = selector => [...document.querySelectorAll(selector)].find(node => node.offsetParent);
document.addEventListener('keydown', e => {
  // Without the focus a list is closed; Tab would go into a long one.
  if (['Escape', 'Tab'].includes(e.key) && e.target.matches('[role=combobox]')) e.target.blur();
  else if (e.key === 'Escape' && !document.activeElement.classList.contains('token')) document.querySelector('#stop')?.click();
  if (e.key === 'Enter' && (e.ctrlKey || e.metaKey) && !e.defaultPrevented) { e.preventDefault(); visible('#run, #ask')?.click(); }
});
