// Draws boxes, lines of equal distance and points over a picture, in the pixels of the screen.

const SVG = 'http://www.w3.org/2000/svg';

function add(svg, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  svg.append(element);
}

// The picture may be smaller than its frame: object-fit: contain leaves bars.
export function place(image) {
  const {clientWidth: width, clientHeight: height, naturalWidth, naturalHeight} = image;
  const scale = Math.min(width / naturalWidth, height / naturalHeight) || 0;
  const [w, h] = [naturalWidth * scale, naturalHeight * scale];
  return {left: image.offsetLeft + (width - w) / 2, top: image.offsetTop + (height - h) / 2, width: w, height: h};
}

export function draw(svg, image, {lines = [], boxes = [], chosen = -1, cross = null, foot = null}) {
  svg.replaceChildren();
  const area = place(image);
  if (!area.width) return;
  const x = share => area.left + share * area.width, y = share => area.top + share * area.height;
  const inside = share => share > -0.2 && share < 1.2;
  const seen = lines.map((line, number) => ({...line, number})).filter(line => inside(line.left) || inside(line.right));
  seen.forEach(line => {
    const path = `M${x(0)} ${y(line.left)}L${x(1)} ${y(line.right)}`;
    add(svg, 'path', {d: path, class: 'under'});
    add(svg, 'path', {d: path, class: 'equal'});
  });
  seen.forEach(line => { // far lines lie close together, so each label has its own column
    const column = 0.06 + 0.11 * line.number, row = line.left + (line.right - line.left) * column;
    if (row > 0.02 && row < 0.99) add(svg, 'text', {x: x(column), y: y(row) - 4}, `${line.metres} m`);
  });
  boxes.forEach(([, x1, y1, x2, y2, text], number) => {
    const at = {x: x(x1), y: y(y1), width: (x2 - x1) * area.width, height: (y2 - y1) * area.height};
    if (number === chosen) add(svg, 'rect', {...at, class: 'shade'});
    add(svg, 'rect', {...at, class: number === chosen ? 'one chosen' : 'one'});
    if (text) add(svg, 'text', {x: at.x + 4, y: at.y > 20 ? at.y - 5 : at.y + 16}, text);
  });
  for (const point of [cross, foot]) {
    if (!point) continue;
    const [cx, cy] = [x(point.x), y(point.y)];
    for (const kind of ['shade', 'cross']) add(svg, 'path', {d: `M${cx - 11} ${cy}h22M${cx} ${cy - 11}v22`, class: kind});
    if (point.text) add(svg, 'text', {x: cx + 10, y: cy - 8}, point.text);
  }
}
