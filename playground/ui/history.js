// Draws the list of runs from plain data, with textContent only. Each run is a link to its own address.
function part(tag, cls, text) {
  const node = document.createElement(tag);
  node.className = cls;
  node.textContent = text;
  return node;
}

function draw() {
  const list = element.querySelector('.history');
  if (!list) return;
  const runs = props.value || [];
  if (!runs.length) { list.replaceChildren(part('li', 'none', 'No runs yet, or no run matches.')); return; }
  list.replaceChildren(...runs.map(run => {
    const item = document.createElement('li'), link = document.createElement('a');
    link.href = '?' + new URLSearchParams({ run: run.id });
    const when = part('time', '', new Date(run.created).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' }));
    when.dateTime = run.created;
    const state = run.status === 'done' ? '' : ` · ${run.status}`;
    link.append(when, part('span', 'prompt', run.prompt), part('span', 'methods', run.methods + state));
    item.append(link);
    return item;
  }));
}

watch('value', draw);
draw();
