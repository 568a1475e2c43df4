'use strict';
// Draws the charts of the clips. page.py (clip_series) explains the keys of the data.
const MOST_SHOWN = 12, MOST_PRINTED = 400, MOST_DOTS = 130, W = 360, H = 150, LEFT = 34, RIGHT = 18, TOP = 10, BOTTOM = 22;
const FLOOR_M = 2;  // as in choice.py
const byId = id => document.getElementById(id);
const data = JSON.parse(byId('data').textContent);
document.body.classList.remove('no-script');

// Figures of each clip, computed once.
const numbers = list => (list || []).filter(v => v !== null);
const quantile = (sorted, q) => sorted.length ? sorted[Math.floor((sorted.length - 1) * q)] : 0;
for (const clip of data.clips) {
  const known = numbers(clip.v).sort((a, b) => a - b);
  clip.near = known.length ? known[0] : Infinity;
  clip.far = known.length ? known[known.length - 1] : -Infinity;
  clip.middle = known.length ? (known[(known.length - 1) >> 1] + known[known.length >> 1]) / 2 : null;
  clip.top = Math.max(1e-9, ...bounds(clip).map(b => b ? b[1] : 0), clip.far);
  clip.doubt = clip.t.reduce((most, _, i) => {  // as in choice.py
    const b = bounds(clip)[i];
    if (!b) return most;
    const half = clip.s && clip.s[i] !== null ? clip.s[i] : b[1] - clip.v[i];
    return Math.max(most, half / Math.max(clip.v[i], FLOOR_M));
  }, -1);
  clip.key = (clip.n + ' ' + clip.g).toLowerCase();
}
const tops = data.clips.map(c => c.top).sort((a, b) => a - b);
// Based on the 90th percentile, so that a few huge values do not flatten the rest. They are drawn as arrowheads.
const commonTop = roundTop(Math.min(tops[tops.length - 1] || 1, 1.5 * quantile(tops, 0.9) || 1));

function bounds(clip) {  // [lower, upper] or null for each second: the interval, else distance -/+ spread
  if (!clip.b) {
    clip.b = clip.t.map((_, i) => {
      const v = clip.v[i];
      if (v === null || corrected(clip, i)) return null;  // a person's distance has no interval
      if (clip.lo && clip.hi && clip.lo[i] !== null && clip.hi[i] !== null) return [clip.lo[i], clip.hi[i]];
      if (clip.s && clip.s[i] !== null) return [v - clip.s[i], v + clip.s[i]];
      return null;
    });
  }
  return clip.b;
}
function roundTop(value) {  // a round number for the top of an axis, at least the value
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1e-9)));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map(k => k * power).find(k => k >= value * 0.999) || 10 * power;
}
const metres = v => v === null ? 'none' : Math.abs(v) < 1e4 ? v.toFixed(1) : v.toPrecision(3);
const short = v => String(Number(v.toPrecision(3)));
const interval = (clip, i) => clip.lo && clip.hi ? bounds(clip)[i] : null;
const named = (clip, i) => clip.k && clip.k[i] >= 0 ? 'animal ' + clip.a[clip.k[i]] : '';
const flags = (clip, i) => (clip.f && clip.f[i] || '').split(' ').filter(Boolean)
  .map(flag => Object.hasOwn(data.words, flag) ? data.words[flag] : flag).join(', ');
function corrected(clip, i) { return Boolean(clip.c && clip.c[i]); }
const placesAt = (clip, t) => [...clip.t.keys()].filter(i => clip.t[i] === t);
const describeSecond = (clip, t) => t + ' s: ' + placesAt(clip, t).map(i => describeRow(clip, i)).join('; ');
function describeRow(clip, i) {
  const b = interval(clip, i);
  return (named(clip, i) && named(clip, i) + ' ') + (clip.v[i] === null ? 'no distance' : metres(clip.v[i]) + ' m') +
    (b ? ' (' + metres(b[0]) + ' to ' + metres(b[1]) + ')' : '') +
    (flags(clip, i) ? ', ' + flags(clip, i) : '') + (corrected(clip, i) ? ', corrected' : '');
}
function describeClip(clip) {
  const n = numbers(clip.v).length;
  if (!n) return 'no distance in ' + new Set(clip.t).size + ' s';
  const animals = clip.a ? clip.a.length + (clip.a.length > 1 ? ' animals, ' : ' animal, ') : '';
  const seconds = new Set(clip.t.filter((_, i) => clip.v[i] !== null)).size;
  if (n === 1) return animals + '1 second, ' + metres(clip.near) + ' m';
  return animals + seconds + (seconds > 1 ? ' seconds, ' : ' second, ') + metres(clip.near) + ' to ' + metres(clip.far) + ', median ' + metres(clip.middle) + ' m';
}
const lastSecond = clip => Math.max(clip.d || 0, clip.t[clip.t.length - 1], 1);

// A chart is a string of SVG that contains only numbers; nameLines adds the names of the tracks. Texts of the data never pass through innerHTML.
function tracksOf(clip) {  // the places of the rows of each track; without tracks all rows
  if (!clip.k) return [{places: [...clip.t.keys()], style: ''}];
  return [-1, ...clip.a.keys()].map(k => ({
    places: [...clip.t.keys()].filter(i => clip.k[i] === k), style: styleOf(clip, k), name: clip.a[k]
  })).filter(track => track.places.length);
}
const styleOf = (clip, k) => k < 0 ? '' : ` c${clip.y[k][0]} s${clip.y[k][1]}`;
function drawTrack(clip, {places, style}, top, gap, at) {  // bands and line, broken where the track has no distance
  const b = bounds(clip), runs = [];
  let svg = '', before = null;
  for (const i of places) {
    if (clip.v[i] === null) { before = null; continue; }
    if (before !== null && clip.t[i] - clip.t[before] <= gap) runs[runs.length - 1].push(i); else runs.push([i]);
    before = i;
  }
  const n = clip.a ? clip.a.length : 0, many = n > 8 ? ' crowd' : n > 3 ? ' many' : '';  // pale bands
  for (const run of runs) {
    const ribbons = [[]];  // a second without bounds ends a ribbon
    for (const i of run) if (b[i]) ribbons[ribbons.length - 1].push(i); else ribbons.push([]);
    for (const ribbon of ribbons) {
      if (ribbon.length === 1) {
        const i = ribbon[0];
        svg += `<path class="stem${many}${style}" d="M${at(clip.t[i], b[i][0])}L${at(clip.t[i], b[i][1])}"/>`;
      } else if (ribbon.length) {
        svg += `<path class="band${many}${style}" d="M` + ribbon.map(i => at(clip.t[i], b[i][1])).join('L') + 'L' +
          ribbon.slice().reverse().map(i => at(clip.t[i], b[i][0])).join('L') + 'Z"/>';
      }
    }
    if (run.length > 1) {
      svg += `<path class="line${style}" d="M` + run.map(i => at(clip.t[i], clip.v[i])).join('L') + '"/>';
    }
  }
  for (const i of places) {
    const v = clip.v[i], [px, py] = at(clip.t[i], v === null ? 0 : v).split(' ');
    if (v === null) svg += `<path class="missing" d="M${px} ${H - BOTTOM}v-5"/>`;
    else if (corrected(clip, i)) svg += `<path class="diamond${style}" d="M${px} ${py}m0-5l5 5l-5 5l-5-5z"/>`;
    else if (v > top) svg += `<path class="dot${style}" d="M${px} ${TOP - 9}l4 7h-8z"/>`;
    else if (flags(clip, i)) svg += `<circle class="ring${style}" cx="${px}" cy="${py}" r="3.2"/>`;
    else if (places.length <= MOST_DOTS) svg += `<circle class="dot${style}" cx="${px}" cy="${py}" r="2.4"/>`;
  }
  return svg;
}
function scales(clip, top) {  // seconds and metres to the units of the drawing
  const last = lastSecond(clip);
  return {
    x: t => LEFT + (W - LEFT - RIGHT) * t / last,
    y: v => Math.min(Math.max(TOP + (H - TOP - BOTTOM) * (1 - v / top), TOP - 4), H - BOTTOM)
  };
}
function drawChart(clip, top) {
  const last = lastSecond(clip);
  const {x, y} = scales(clip, top);
  const at = (t, v) => x(t).toFixed(1) + ' ' + y(v).toFixed(1);
  const seconds = [...new Set(clip.t)];
  const steps = seconds.slice(1).map((t, i) => t - seconds[i]).sort((p, q) => p - q);
  const gap = 1.5 * (quantile(steps, 0.5) || 1);
  let svg = '';
  for (const level of [0, top / 2, top]) {
    svg += `<path class="grid" d="M${LEFT} ${y(level)}H${W - RIGHT}"/>` +
      `<text class="end" x="${LEFT - 5}" y="${y(level) + 4}">${short(level)}</text>`;
  }
  const stepX = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200].find(s => last / s <= 6) || last;
  for (let t = 0; t <= last; t += stepX) {
    svg += `<text x="${x(t)}" y="${H - 6}">${t}${t + stepX > last ? ' s' : ''}</text>`;
  }
  for (const track of tracksOf(clip)) svg += drawTrack(clip, track, top, gap, at);
  return `<svg viewBox="0 0 ${W} ${H}" role="img">${svg}<path class="hair" d="M-9 ${TOP}V${H - BOTTOM}"/></svg>`;
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
function emptyFigure(clip) {  // its chart is drawn when it comes near the screen
  if (clip.figure) return clip.figure;
  clip.read = element('p', {className: 'read', textContent: describeClip(clip)});
  const caption = element('figcaption', {}, element('h4', {textContent: clip.n}), clip.read);
  if (clip.a) caption.append(legendOf(clip));
  clip.figure = element('figure', {className: 'chart'}, caption);
  clip.figure.clip = clip;
  return clip.figure;
}
function legendOf(clip) {  // a line as in the chart and the name of each track
  const legend = element('ul', {className: 'legend-of-tracks'}, ...clip.a.map((name, k) => {
    const holder = element('span', {className: 'track'});
    holder.innerHTML = `<svg class="key" viewBox="0 0 22 8" aria-hidden="true"><path class="line${styleOf(clip, k)}" d="M0 4H22"/></svg>`;
    holder.append(name);
    return element('li', {}, holder);
  }));
  if (clip.a.length > 12) Object.assign(legend, {tabIndex: 0, ariaLabel: 'Animals of ' + clip.n});
  return legend;
}
function nameLines(clip, top) {  // the name of each track at the end of its line, where it has room
  const taken = [], {x, y} = scales(clip, top);
  for (const track of tracksOf(clip)) {
    const last = track.places.findLast(i => clip.v[i] !== null);
    if (!track.name || last === undefined) continue;
    const name = track.name.length > 10 ? track.name.slice(0, 9) + '\u2026' : track.name;
    const width = 6.5 * name.length + 2, px = x(clip.t[last]), py = y(clip.v[last]);
    const spots = [[px + 5, py], [px + 5, py - 9], [px + 5, py + 9], [px - width, py - 10], [px - width, py + 12]];
    const spot = spots.find(([left, middle]) => left + width <= W && middle >= 6 && middle <= H - BOTTOM &&
      taken.every(t => Math.abs(t[1] - middle) > 10 || left + width < t[0] || t[2] < left));
    if (!spot) continue;
    taken.push([spot[0], spot[1], spot[0] + width]);
    const text = document.createElementNS(clip.plot.namespaceURI, 'text');
    text.setAttribute('class', 'end-name' + styleOf(clip, clip.a.indexOf(track.name)));
    text.setAttribute('x', spot[0].toFixed(1));
    text.setAttribute('y', (spot[1] + 4).toFixed(1));
    text.textContent = name;
    clip.plot.append(text);
  }
}
function fillFigure(clip) {
  const top = ownScale && ownScale.checked ? roundTop(clip.top) : commonTop;
  if (clip.drawn === top) return;
  if (clip.plot) clip.plot.remove();
  const holder = element('div', {});
  holder.innerHTML = drawChart(clip, top);
  clip.plot = holder.firstChild;
  if (clip.a) nameLines(clip, top);
  clip.plot.setAttribute('aria-label', clip.n + ': ' + describeClip(clip));
  clip.plot.addEventListener('pointermove', event => showSecond(clip, event));
  clip.plot.addEventListener('pointerleave', () => {
    clip.read.textContent = describeClip(clip);
    clip.plot.querySelector('.hair').setAttribute('transform', 'translate(0)');
  });
  clip.figure.insertBefore(clip.plot, clip.figure.children[1] || null);
  if (!clip.numbers) {
    clip.numbers = element('details', {}, element('summary', {textContent: 'numbers'}));
    clip.numbers.addEventListener('toggle', () => listNumbers(clip), {once: true});
    clip.figure.append(clip.numbers);
  }
  clip.drawn = top;
}
function showSecond(clip, event) {  // the second under the pointer
  const place = clip.plot.getBoundingClientRect(), last = lastSecond(clip);
  const t = ((event.clientX - place.left) / place.width * W - LEFT) / (W - LEFT - RIGHT) * last;
  let nearest = 0;
  clip.t.forEach((s, i) => { if (Math.abs(s - t) < Math.abs(clip.t[nearest] - t)) nearest = i; });
  clip.read.textContent = describeSecond(clip, clip.t[nearest]);
  const px = LEFT + (W - LEFT - RIGHT) * clip.t[nearest] / last;
  clip.plot.querySelector('.hair').setAttribute('transform', `translate(${px + 9})`);
}
function listNumbers(clip) {
  const heads = ['second', ...(clip.a ? ['animal'] : []), 'distance, m', 'from', 'to', 'flags'];
  const head = element('tr', {}, ...heads.map(text => element('th', {scope: 'col', textContent: text})));
  const body = element('tbody', {}, ...clip.t.map((t, i) => {
    const b = interval(clip, i);
    const animal = clip.a ? [clip.k[i] < 0 ? '' : clip.a[clip.k[i]]] : [];
    const cells = [t, ...animal, clip.v[i] === null ? '' : metres(clip.v[i]), b ? metres(b[0]) : '', b ? metres(b[1]) : '',
      [flags(clip, i), corrected(clip, i) ? 'corrected' : ''].filter(Boolean).join(', ')];
    return element('tr', {}, ...cells.map(text => element('td', {textContent: text})));
  }));
  const table = element('table', {}, element('thead', {}, head), body);
  const scroll = element('div', {className: 'scroll', tabIndex: 0}, table);
  scroll.setAttribute('role', 'region');
  scroll.setAttribute('aria-label', 'Numbers of ' + clip.n);
  clip.numbers.append(scroll);
}

const find = byId('find'), order = byId('order'), ownScale = byId('own'), charts = byId('charts');
const observer = charts && new IntersectionObserver(
  seen => seen.forEach(e => e.isIntersecting && fillFigure(e.target.clip)), {rootMargin: '600px'});
const comparisons = {
  doubt: (a, b) => b.doubt - a.doubt, near: (a, b) => a.near - b.near, far: (a, b) => b.far - a.far
};
let mostShown = MOST_SHOWN;
function showClips(only) {  // the clip named `only`, or the clips that match the search field
  charts.dataset.only = typeof only === 'string' ? 'yes' : '';
  const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
  const chosen = data.clips.filter(
    typeof only === 'string' ? c => c.n === only : c => words.every(word => c.key.includes(word)));
  chosen.sort(comparisons[order.value] || ((a, b) => a.g < b.g ? -1 : a.g > b.g ? 1 : 0));
  const shown = chosen.slice(0, mostShown), groups = new Map();
  for (const clip of shown) {
    const name = comparisons[order.value] ? '' : clip.g;
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(clip);
  }
  observer.disconnect();
  const parts = [];
  for (const name of [...groups.keys()].sort()) {
    const clips = groups.get(name);
    if (name || groups.size > 1) {
      const title = (name || 'the clips folder') + ' \u00b7 ' + clips.length + (clips.length > 1 ? ' clips' : ' clip');
      parts.push(element('h3', {textContent: title}));
    }
    parts.push(element('div', {className: 'charts'}, ...clips.map(emptyFigure)));
  }
  charts.replaceChildren(...parts);
  shown.forEach(clip => observer.observe(clip.figure));
  byId('more').hidden = chosen.length <= MOST_PRINTED;
  byId('all').hidden = chosen.length <= shown.length;
  byId('all').textContent = 'Show all ' + chosen.length + ' clips';
  byId('found').textContent = chosen.length + ' of ' + data.clips.length + ' clips';
}
if (charts) {
  let waiting;
  find.addEventListener('input', () => { clearTimeout(waiting); waiting = setTimeout(showClips, 150); });
  order.addEventListener('change', showClips);
  ownScale.addEventListener('change', showClips);
  byId('tools').addEventListener('submit', event => event.preventDefault());
  byId('all').addEventListener('click', () => { mostShown = Infinity; showClips(); });
  addEventListener('beforeprint', () => {
    mostShown = Math.max(mostShown, MOST_PRINTED);
    if (!charts.dataset.only) showClips();
    [...charts.querySelectorAll('.chart')].slice(0, MOST_PRINTED).forEach(f => fillFigure(f.clip));
  });
  showClips();
}
document.addEventListener('click', event => {
  const link = event.target.closest('a[data-clip]');
  if (link && charts) {
    find.value = link.dataset.clip;
    showClips(link.dataset.clip);
  }
});
