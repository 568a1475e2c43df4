
// Pictures: a click enlarges one; Escape or a click closes it.
const boxes = byId('boxes'), large = byId('large');
if (boxes) boxes.addEventListener('change', () => document.body.classList.toggle('no-boxes', !boxes.checked));
document.addEventListener('click', event => {
  const small = event.target.closest('button.picture');
  if (!small) return;
  large.firstElementChild.replaceChildren(...[...small.children].map(child => child.cloneNode(true)));
  const {naturalWidth, naturalHeight} = small.querySelector('img');
  large.firstElementChild.style.width = `min(100%, ${82 * naturalWidth / naturalHeight}vh)`;
  byId('large-text').textContent = small.dataset.text;
  large.showModal();
});
large.addEventListener('click', () => large.close());

// The other seconds of a card's clip: those with a picture are in the page, the rest is added when the list opens.
document.addEventListener('toggle', event => {
  const list = event.target;
  if (!list.open || !list.matches('details.others') || list.dataset.full) return;
  list.dataset.full = 'yes';
  const clip = data.clips.find(c => c.n === list.dataset.clip);
  const here = new Set([list, ...list.querySelectorAll('input')].map(shown => Number(shown.dataset.time)));
  for (const t of new Set(clip.t)) {
    if (here.has(t)) continue;
    const rows = placesAt(clip, t).map(i => rowWithoutPicture(clip, i));
    const parts = rows.length > 1 ? rows.map(parts => element('div', {className: 'animal'}, ...parts)) : rows[0];
    list.append(element('div', {className: 'second'}, ...parts));
  }
}, true);
function rowWithoutPicture(clip, i) {  // its text and its field
  const field = element('input', {inputMode: 'decimal', autocomplete: 'off', size: 6});
  Object.assign(field.dataset, {clip: clip.n, time: clip.t[i]});
  if (named(clip, i)) field.dataset.animal = clip.a[clip.k[i]];
  const about = named(clip, i) ? ', ' + named(clip, i) : '';
  field.setAttribute('aria-label', 'Correct distance in m of ' + clip.n + ', second ' + clip.t[i] + about);
  field.value = typed.get(keyOf(field)) || '';
  const label = element('label', {}, 'correct distance, m ', field);
  const text = clip.t[i] + ' s: ' + describeRow(clip, i);
  return [element('p', {textContent: text}), label];
}

// Corrections: earlier ones, and every value that is typed in a field. A key is the JSON of [clip, second, animal].
const keyOf = field => JSON.stringify([field.dataset.clip, Number(field.dataset.time), field.dataset.animal || '']);
const earlier = new Map(data.typed.map(([clip, time, text, animal]) => [JSON.stringify([clip, time, animal || '']), text]));
const typed = new Map(earlier), bar = byId('bar'), csv = byId('csv');
const distance = text => Number(text.replace(',', '.'));
const isDistance = text => text !== '' && Number.isFinite(distance(text)) && distance(text) >= 0;
const quoted = text => /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
function correctionsCsv() {
  const rows = [...typed].filter(([, text]) => isDistance(text))
    .map(([key, text]) => [...JSON.parse(key), String(distance(text))]);
  const before = (a, b) => a < b ? -1 : a > b ? 1 : 0;
  rows.sort((a, b) => before(a[0], b[0]) || a[1] - b[1] || before(a[2], b[2]));
  const animal = rows.some(r => r[2]);
  const lines = rows.map(r => [quoted(r[0]), r[1], ...(animal ? [quoted(r[2])] : []), r[3]].join(','));
  return [animal ? 'video_id,time,animal,distance' : 'video_id,time,distance', ...lines].join('\n') + '\n';
}
function refresh() {
  const changed = [...typed.keys()].filter(key => typed.get(key) !== (earlier.get(key) || ''));
  const good = changed.filter(key => isDistance(typed.get(key)));
  const bad = [...typed.values()].filter(text => text && !isDistance(text)).length;
  bar.hidden = !changed.length;
  csv.value = correctionsCsv();
  const kept = csv.value.split('\n').length - 2 - good.length;
  byId('bar-count').textContent = changed.length + (changed.length === 1 ? ' change' : ' changes') +
    (kept > 0 ? ', ' + kept + ' earlier' : '');
  byId('bar-bad').textContent = bad ? bad + ' left out: not a distance in m' : '';
}
document.addEventListener('input', event => {
  const field = event.target;
  if (!field.matches('input[data-time]')) return;
  const text = field.value.trim();
  typed.set(keyOf(field), text);
  if (text && !isDistance(text)) field.setAttribute('aria-invalid', 'true'); else field.removeAttribute('aria-invalid');
  field.closest('.animal, .second, .card').classList.toggle('typed', text !== (earlier.get(keyOf(field)) || ''));
  refresh();
});
byId('show').addEventListener('click', () => {
  csv.hidden = !csv.hidden;
  byId('show').textContent = csv.hidden ? 'Show' : 'Hide';
  byId('show').setAttribute('aria-expanded', String(!csv.hidden));
});
byId('copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(csv.value);
  } catch {  // the browser may not allow it for a file from a disk
    csv.hidden = false;
    csv.select();
    document.execCommand('copy');
  }
  byId('copy').textContent = 'Copied';
  setTimeout(() => { byId('copy').textContent = 'Copy'; }, 1500);
});
byId('save').addEventListener('click', () => {
  const link = element('a', {download: 'corrections.csv', href: URL.createObjectURL(new Blob([csv.value]))});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});
addEventListener('beforeunload', event => { if (!bar.hidden) event.preventDefault(); });
