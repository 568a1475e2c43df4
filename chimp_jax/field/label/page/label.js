// The page to measure distances: shows a target, takes keys and clicks, and sends each answer at once.

import {place} from './overlay.js';
import {get, post} from './server.js';
import {$, animalHere, boxesHere, metres, ownAnswer, paint, play, references, say, showSecond, state, step, stop, video} from './viewer.js';

const typesByHand = matchMedia('(pointer: coarse)').matches; // a focused field would open the keyboard of the phone
const parsed = text => /^\d*[.,]?\d*$/.test(text.trim()) && /\d/.test(text) ? Number(text.trim().replace(',', '.')) : NaN;
const words = (kind, distance) => kind === 'distance' ? metres(distance) : kind;
const answerable = () => !state.target.seconds || state.target.seconds.includes(state.second);

function show(target, entry = null) {
  stop();
  const other = state.target?.clip !== target.clip;
  Object.assign(state, {target, entry, cross: null, keys: 0, since: 0});
  $('point').hidden = $('near').hidden = true;
  $('station').textContent = target.station || 'Measure distances';
  $('clip').textContent = target.name;
  document.title = `${target.name}: measure distances`;
  $('time').max = target.last_s;
  $('time').disabled = target.last_s === 0;
  $('as-video').hidden = !target.video;
  $('distance').value = entry?.distance ?? '';
  $('distance').removeAttribute('aria-invalid');
  if (other) state.help = {lines: [], references: []};
  if (!typesByHand) $('distance').focus();
  showSecond(target.second);
  get(`help?clip=${target.clip}&second=${target.second}`).then(help => {
    if (state.target !== target) return;
    state.help = help;
    references.set(help.references, other);
    paint();
  }, error => say(error.message, true));
}

function count({progress, who}) {
  const parts = [`${progress.distances} distance${progress.distances === 1 ? '' : 's'} by ${who}`];
  if (progress.per_hour) parts.push(`${progress.per_hour} answers an hour`);
  $('count').textContent = parts.join(' · ');
  $('agreement').hidden = !progress.agreement.length;
  $('pairs').replaceChildren(...progress.agreement.map(line => Object.assign(document.createElement('li'), {textContent: line})));
}

function take(reply) {
  state.upcoming = reply;
  count(reply);
  $('problem').hidden = !reply.problem;
  $('problem').textContent = `Your answers are saved in the journal, but a table cannot be written: ${reply.problem}. Each answer tries again.`;
  for (const [clip, second] of reply.ahead) new Image().src = `frame/${clip}/${second}`;
}

function showNext() {
  if (!state.upcoming.target) return end('Everything is answered', state.upcoming.progress);
  show(state.upcoming.target);
  $('near').hidden = !state.upcoming.near;
}

function end(title, progress) {
  stop();
  for (const part of ['stage', 'panel', 'finish']) $(part).hidden = true;
  $('end').hidden = false;
  $('station').textContent = document.title = 'Measure distances';
  $('clip').textContent = '';
  $('end-title').textContent = title;
  const lines = [`Distances in the table of labels: ${progress.all_distances}.`, `Your answers: ${progress.answers}${
    progress.keys ? `, with ${progress.keys} keys each` : ''}${progress.per_hour ? `, at ${progress.per_hour} an hour` : ''}.`,
    ...progress.agreement, 'Press Ctrl-C in the terminal if the command still runs. The same command resumes.'];
  $('end-lines').replaceChildren(...lines.map(line => Object.assign(document.createElement('li'), {textContent: line})));
  $('end').focus();
}

async function answer(kind) {
  const typed = parsed($('distance').value);
  if (kind === 'distance' && !(typed > 0 && typed <= 100)) {
    $('distance').setAttribute('aria-invalid', 'true');
    return say($('distance').value.trim() ? 'This is no distance: type metres, such as 4.5.' : 'Type the distance in metres first.', true);
  }
  if (!state.since) return say('Wait for the picture.', true);
  if (!$('nothing').hidden && ['distance', 'no animal'].includes(kind)) {
    return say('There is no picture to measure: choose Cannot tell (C) or Skip (S).', true);
  }
  if (!answerable()) {
    showSecond(state.target.second);
    return say(`That second has no estimate. Here is second ${state.second}, which is asked: answer for it.`, true);
  }
  const {clip, second, animal} = state.target, name = animalHere();
  const content = {target: [clip, state.second, name], asked: [clip, second, animal], kind, keys: state.keys,
    took_s: (performance.now() - state.since) / 1000};
  if (kind === 'distance') content.distance = typed;
  const where = `second ${state.second} of ${state.target.name}`;
  const reply = await post('answer', content), before = reply.replaced;
  take(reply);
  say(`Saved: ${words(kind, typed)}, ${where}${before ? `, in place of ${words(before.kind, before.distance)}` : ''}.`);
  state.target.own = [...state.target.own.filter(own => own[0] !== state.second || own[1] !== name),
    [state.second, name, kind, typed]];
  const left = boxesHere().findIndex(box => box[0] && !ownAnswer(box[0]));
  if (kind === 'skip' || left < 0) return showNext();
  Object.assign(state, {chosen: left, keys: 0, since: performance.now(), entry: null});
  $('distance').value = '';
  say(`${$('status').textContent} Now the next animal of this second, or Next.`);
  paint();
}

async function later() {
  const {clip, second, animal} = state.target, current = state.upcoming.target;
  const isCurrent = current && !state.entry && current.clip === clip && current.second === second && current.animal === animal;
  take(isCurrent ? await post('later', {target: [clip, second, animal]}) : await get('next'));
  say(isCurrent ? 'Set aside: this second comes again at the end.' : '');
  showNext();
}

async function before() {
  const reply = await get(state.entry?.id ? `before?id=${state.entry.id}` : 'before');
  if (!reply.answer) return say('There is no answer before this one.');
  show(reply.answer.target, reply.answer);
  say(`Your answer was: ${words(reply.answer.kind, reply.answer.distance)}. Type a new one, or press N to go on.`);
}

async function undo() {
  const reply = await post('undo', {});
  take(reply);
  if (!reply.undone) return say('There is nothing to undo.');
  const {what, kind, distance, target} = reply.undone;
  if (target) show(target);
  else if (what === 'point') show(state.target);
  say(`Undone: ${what === 'point' ? `the known point at ${metres(distance)}` : words(kind, distance)}.`);
}

function openPoint(x, y) {
  stop();
  state.cross = {x, y};
  $('point').hidden = false;
  $('point-distance').value = '';
  $('point-distance').focus();
  paint();
}

function ground() {
  const box = boxesHere()[state.chosen];
  openPoint(...box ? [(box[1] + box[3]) / 2, Math.min(box[4], 1)] : [0.5, 0.7]);
}

function cancel() {
  state.cross = null;
  $('point').hidden = true;
  if (!typesByHand) $('distance').focus();
  paint();
}

async function addPoint() {
  const distance = parsed($('point-distance').value);
  if (!(distance > 0 && distance <= 100)) return say('This is no distance: type metres, such as 4.5.', true);
  const {clip} = state.target;
  take(await post('point', {clip, second: state.second, ...state.cross, distance, what: $('point-what').value}));
  cancel();
  state.help = await get(`help?clip=${clip}&second=${state.second}`);
  references.set(state.help.references, false);
  paint();
  say(`Saved: a known point at ${metres(distance)}.`);
}

const DO = {
  none: () => answer('no animal'), unsure: () => answer('cannot tell'), skip: () => answer('skip'), next: later, before, undo,
  'back-s': () => step(-1), 'on-s': () => step(1), home: () => { stop(); return showSecond(state.target.second); }, play, video,
  lines: () => { state.lines = !state.lines; $('lines').setAttribute('aria-pressed', state.lines); paint();
    if (state.lines && !state.help.lines.length) say('This station has no known point yet, so there are no lines. Press G to add one.'); },
  reference: () => { if (!references.turn()) say('This station has no picture with a known distance yet.'); paint(); },
  ground, cancel, animal: () => { state.chosen = (state.chosen + 1) % Math.max(1, boxesHere().length); paint(); },
};
const KEYS = {x: DO.none, c: DO.unsure, s: DO.skip, n: DO.next, b: DO.before, u: DO.undo, a: DO.animal, l: DO.lines, r: DO.reference,
  g: DO.ground, v: DO.video, ' ': DO.play, Home: DO.home, t: () => { references.step(1); paint(); },
  T: () => { references.step(-1); paint(); }, '[': () => references.blend(-10), ']': () => references.blend(10),
  h: () => { $('keys').open = !$('keys').open; }, '?': () => { $('keys').open = !$('keys').open; }};

// One action at a time: a second Enter while an answer travels must not answer the next target. Digits that are typed
// meanwhile belong to the next distance: a lost first digit would save 2 m in place of 12 m. A whole distance with its
// Enter came before its picture: it is not taken, and the digits after it do not join it.
async function run(act) {
  if (state.busy) return;
  state.busy = $('distance').readOnly = true;
  try {
    await act();
  } catch (error) {
    say(error.message, true);
  } finally {
    state.busy = $('distance').readOnly = false;
    if (state.early && !$('distance').value) {
      $('distance').value = state.early;
      state.keys += state.early.length;
    }
    if (state.unseen) say('You typed a distance before its picture was shown, and it was not taken. Type it again.', true);
    state.early = '';
    state.unseen = false;
  }
}

function moveCross(event) {
  const large = event.shiftKey ? 5 : 1, moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  const [dx, dy] = moves[event.key], inside = value => Math.min(1, Math.max(0, value));
  state.cross = {x: inside(state.cross.x + dx * large * 0.005), y: inside(state.cross.y + dy * large * 0.005)};
  event.preventDefault();
  paint();
}

document.addEventListener('keydown', event => {
  if (!state.target || event.isComposing || !$('end').hidden || ['Shift', 'Control', 'Alt', 'Meta'].includes(event.key)) return;
  state.keys += 1;
  const {target, key} = event, inPoint = $('point').contains(target);
  if (event.ctrlKey || event.metaKey || event.altKey) {
    if (key === 'z' && !inPoint) { event.preventDefault(); run(undo); }
    return;
  }
  if (key === 'Escape' && state.cross) return void cancel();
  if (inPoint && key.startsWith('Arrow') && target.tagName === 'INPUT') return moveCross(event);
  if (inPoint || target.tagName === 'SELECT' || target.type === 'range' || target.tagName === 'VIDEO') return;
  if (['BUTTON', 'SUMMARY'].includes(target.tagName) && [' ', 'Enter'].includes(key)) return;
  if (key === 'Enter' && state.busy && state.early) { event.preventDefault(); state.early = ''; state.unseen = true; return; }
  if (/^[\d.,]$/.test(key) && state.busy) { event.preventDefault(); state.early += key; return; }
  if (/^[\d.,]$/.test(key)) { stop(); return void $('distance').focus(); }
  if (key === 'Enter' && target.id !== 'distance') { event.preventDefault(); return void run(() => answer('distance')); }
  const large = event.shiftKey ? 5 : 1;
  const act = key === 'ArrowLeft' ? () => step(-large) : key === 'ArrowRight' ? () => step(large) : KEYS[key] ?? KEYS[key.toLowerCase()];
  if (act && !(key === 'Home' && $('distance').value)) { event.preventDefault(); run(act); }
  else if (/^\p{L}$/u.test(key)) event.preventDefault(); // a letter is no part of a distance
});
document.addEventListener('click', event => {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  if (event.detail) state.keys += 1; // the keyboard's click on a button is counted as its key
  run(DO[button.dataset.do]);
  if (event.detail && !typesByHand && button.dataset.do !== 'ground') $('distance').focus();
});
$('answer').addEventListener('submit', event => {
  event.preventDefault();
  if (event.submitter === document.activeElement) state.keys += 1;
  run(() => answer('distance'));
});
$('distance').addEventListener('input', () => { $('distance').removeAttribute('aria-invalid'); });
$('point').addEventListener('submit', event => { event.preventDefault(); run(addPoint); });
$('time').addEventListener('input', () => { stop(); showSecond(Number($('time').value)); });
$('frame').addEventListener('click', event => {
  const area = place($('frame')), at = $('shown').getBoundingClientRect();
  const [x, y] = [(event.clientX - at.left - area.left) / area.width, (event.clientY - at.top - area.top) / area.height];
  if (x >= 0 && x <= 1 && y >= 0 && y <= 1) openPoint(x, y);
});
$('brightness').addEventListener('input', () => $('pictures').style.setProperty('--light', $('brightness').value / 100));
$('finish').addEventListener('click', () => run(async () => end('Thank you', (await post('finish', {})).progress)));
addEventListener('resize', paint);
references.onchange = paint;

run(async () => {
  const reply = await get('next');
  $('hint').textContent = reply.hint;
  $('hint').hidden = !reply.hint;
  take(reply);
  showNext();
});
