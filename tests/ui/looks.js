// What test_looks.py asks of a page. Each function gives a list of faults in words, or null.
window.looks = (() => {
  const drawn = node => node.checkVisibility({ opacityProperty: true, visibilityProperty: true })
    && node.getBoundingClientRect().width > 4 && !node.closest('.sr-only, #said, .toast-wrap');
  const told = node => node.outerHTML.slice(0, 140);
  const ancestors = function* (node) { for (let up = node.parentElement; up; up = up.parentElement) yield up; };

  // The part of an element that can be seen: [left, top, right, bottom].
  function seen(node) {
    let { left, top, right, bottom } = node.getBoundingClientRect();
    for (const up of ancestors(node)) {
      if (getComputedStyle(up).overflow === 'visible') continue;
      const box = up.getBoundingClientRect();
      [left, top] = [Math.max(left, box.left), Math.max(top, box.top)];
      [right, bottom] = [Math.min(right, box.right), Math.min(bottom, box.bottom)];
    }
    return [left, top, right, bottom];
  }

  function overlapping() {
    // The label of an upload stands inside its button, as Gradio draws it. What is fixed floats over what scrolls.
    const wanted = 'button, a, input, textarea, select, canvas, h1, h2, h3, label:not(.float) > span';
    const fixed = node => [node, ...ancestors(node)].some(one => getComputedStyle(one).position === 'fixed');
    const parts = [...document.querySelectorAll(wanted)].filter(node => drawn(node) && !fixed(node)).map(node => [node, seen(node)]);
    const meet = ([a, p], [b, q]) => Math.min(p[2], q[2]) - Math.max(p[0], q[0]) > 2
      && Math.min(p[3], q[3]) - Math.max(p[1], q[1]) > 2 && !a.contains(b) && !b.contains(a);
    return parts.flatMap((one, i) => parts.slice(i + 1).filter(other => meet(one, other))
      .map(other => `${told(one[0])} overlaps ${told(other[0])}`));
  }

  const numbers = colour => (colour.match(/[\d.]+/g) || []).map(Number);
  const linear = part => part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  function contrast(a, b) {
    const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (light + 0.05) / (dark + 0.05);
  }
  function behind(node) {
    for (const up of ancestors(node)) {
      const [r, g, b, alpha = 1] = numbers(getComputedStyle(up).backgroundColor);
      if (alpha === 1) return [r, g, b];
    }
    return [255, 255, 255];
  }

  // Fields and boxes whose edge stands out from what is behind by less than 3 to 1. The edge of a slider's number and
  // of a list's field is around them; what is ticked is filled.
  function faint() {
    const wanted = 'textarea, input:not([type=range], [type=file], [role=combobox], [data-testid=number-input], :checked)';
    return [...document.querySelectorAll(wanted)].filter(drawn)
      .map(node => [contrast(numbers(getComputedStyle(node).borderTopColor), behind(node)), node])
      .filter(([found]) => found < 3).map(([found, node]) => `${found.toFixed(2)}:1 is the edge of ${told(node)}`);
  }

  // Where the focus is, and whether it or what is around it looks otherwise than without.
  function focused() {
    const node = document.activeElement;
    if (!node || node === document.body) return null;
    const parts = [node, node.parentElement, node.closest('.wrap, .container, label')].filter(Boolean);
    const look = () => parts.map(part => {
      const style = getComputedStyle(part), line = style.outlineStyle !== 'none' && style.outlineWidth !== '0px';
      return [line && style.outline, style.boxShadow, style.borderColor, style.backgroundColor].join();
    });
    const on = look();
    node.blur();
    const off = look();
    node.focus({ focusVisible: true });
    return { what: told(node), seen: on.some((now, i) => now !== off[i]) };
  }

  return { overlapping, faint, focused };
})();
