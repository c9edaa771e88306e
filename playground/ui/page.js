// What this browser keeps of the page; in another site's frame it may keep nothing.
const recall = name => { try { return localStorage.getItem(`realign-playground-${name}`); } catch { return null; } };
const remember = (name, value) => { try { localStorage.setItem(`realign-playground-${name}`, value); } catch { /* it lasts as long as the page */ } };
// Paper is white.
let printedDark = false;
window.addEventListener('beforeprint', () => { printedDark = document.body.classList.contains('dark'); document.body.classList.remove('dark'); });
window.addEventListener('afterprint', () => { if (printedDark) document.body.classList.add('dark'); });
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
