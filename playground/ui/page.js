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
// A new run clears the errors of those before it.
document.addEventListener('click', e => {
  if (e.target.closest('#run')) document.querySelectorAll('.toast-close.error').forEach(button => button.click());
});
// Keys of the whole page: Ctrl + Enter runs what the open tab is for, Escape stops.
const visible = selector => [...document.querySelectorAll(selector)].find(node => node.offsetParent);
document.addEventListener('keydown', e => {
  // Without the focus a list is closed; Tab would go into a long one.
  if (['Escape', 'Tab'].includes(e.key) && e.target.matches('[role=combobox]')) e.target.blur();
  else if (e.key === 'Escape' && !document.activeElement.classList.contains('token')) document.querySelector('#stop')?.click();
  if (e.key === 'Enter' && (e.ctrlKey || e.metaKey) && !e.defaultPrevented) { e.preventDefault(); visible('#run, #ask')?.click(); }
});
