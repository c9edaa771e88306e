// The answers that the search found, each to be marked right or wrong. All text goes through textContent.
const NUMBERS = [['log_likelihood', 'log-likelihood', 'Mean per token, nats'],
  ['p_correct', 'P(correct)', 'Learned self-evaluation'], ['score', 'score', 'What is compared with the threshold']];

function part(tag, cls, text) {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  return node;
}

function mark(row, right, at) {
  const button = part('button', right ? 'right' : 'wrong', right ? '✓' : '✗'), pressed = row.mark === right;
  button.type = 'button';
  button.dataset.at = `${at} ${right}`;
  button.setAttribute('aria-pressed', pressed);
  button.setAttribute('aria-label', `“${row.text}” is ${right ? 'right' : 'wrong'}`);
  button.title = pressed ? 'Click again to remove the mark' : `Mark as ${right ? 'right' : 'wrong'}`;
  button.addEventListener('click', () => trigger('select', { row: at, right }));
  return button;
}

function draw() {
  const root = element.querySelector('.beams'), rows = props.value && props.value.rows;
  if (!root) return;
  if (!rows) { root.replaceChildren(); return; }
  const focused = root.querySelector('button:focus')?.dataset.at;
  const table = part('table'), head = table.createTHead().insertRow(), body = table.createTBody();
  table.append(part('caption', '', 'The likeliest answers. Is one right or wrong? Your mark is stored.'));
  head.append(part('th', '', 'answer'));
  for (const [, title, meaning] of NUMBERS) {
    const cell = part('th', '', title);
    cell.title = meaning;
    head.append(cell);
  }
  head.append(part('th', '', 'mark'));
  rows.forEach((row, at) => {
    const line = body.insertRow(), marks = part('td', 'marks');
    if (at === 0) line.className = 'first';
    line.append(part('td', 'text', row.text || '(empty)'));
    for (const [name] of NUMBERS) line.append(part('td', '', row[name].toFixed(2).replace('-', '−')));
    marks.append(mark(row, true, at), mark(row, false, at));
    line.append(marks);
  });
  root.replaceChildren(table);
  if (focused) root.querySelector(`[data-at="${focused}"]`)?.focus();
}

watch('value', draw);
draw();
