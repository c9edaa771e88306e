// The recorded answers at every setting of the dial: the slider swaps whole texts, and asks nobody.
function drawOpening(root, dial) {
  if (shownRun !== OPENING || !board().contains(lanes[0]?.root)) newLanes(OPENING, 2);
  if (!root.firstChild) addDial(root, dial);
  turnDial(root, dial);
}

function addDial(root, dial) {
  const head = make('p', 'head'), label = make('label'), slider = make('input'), band = make('div', 'band');
  head.append(make('b', '', dial.says), make('q', '', dial.prompt));
  Object.assign(slider, { type: 'range', min: 0, max: dial.lanes.length - 1, step: 1, value: dial.at });
  slider.style.setProperty('--stops', dial.lanes.length);
  slider.setAttribute('aria-label', dial.lanes[0].dial.title);
  slider.addEventListener('input', () => turnDial(root, dial));
  dial.lanes.forEach((lane, at) => {
    if (at && dial.lanes[at - 1].refuses === lane.refuses) { band.lastChild.style.flexGrow++; return; }
    const part = make('span', lane.refuses ? 'refuses' : 'answers', verdict(lane));
    part.style.flexGrow = 1;
    band.append(part);
  });
  band.setAttribute('aria-hidden', 'true');
  label.append(make('output'), slider, band);
  root.append(head, label);
}

const verdict = lane => lane.refuses ? 'refuses' : 'complies';

function turnDial(root, dial) {
  const slider = root.querySelector('input'), at = +slider.value, [low, now] = [dial.lanes[0], dial.lanes[at]];
  const setting = `${now.dial.title} = ${now.dial.value.toFixed(2)}`, words = `${dial.words[at]}; the answer ${verdict(now)}`;
  root.querySelector('output').replaceChildren(make('b', '', setting), ` ${words}`);
  slider.setAttribute('aria-valuetext', `${setting}, ${words}`);
  close(lanes[1]);
  [low, now].forEach((data, i) => drawLane(lanes[i], data));
  const turn = now.pieces.findIndex((piece, i) => piece !== low.pieces[i]);
  for (const lane of lanes) lane.text.querySelectorAll('.token').forEach((token, i) => token.classList.toggle('turn', i === turn));
}
