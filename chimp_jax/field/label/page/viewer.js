// The picture of a target: its seconds, boxes, lines and references, and playing.

import {draw} from './overlay.js';
import {References} from './references.js';
import {get} from './server.js';

export const $ = id => document.getElementById(id);
export const state = {target: null, second: 0, chosen: 0, upcoming: null, entry: null, cross: null, lines: true,
  help: {lines: [], references: []}, keys: 0, since: 0, timer: 0, busy: false, early: '', unseen: false};
export const references = new References($);

export function say(text, bad = false) {
  $('status').textContent = text;
  $('status').classList.toggle('bad', bad);
}

export const metres = value => `${Number(value.toFixed(2))} m`;
export const boxesHere = () => state.target?.boxes[state.second] ?? [];
export const animalHere = () => boxesHere()[state.chosen]?.[0] ?? (state.second === state.target.second ? state.target.animal : '');
export const ownAnswer = animal => state.target.own.find(([second, name]) => second === state.second && name === animal);

export function paint() {
  const boxes = boxesHere().map(box => {
    const own = ownAnswer(box[0]);
    return [...box, own ? own[2] === 'distance' ? metres(own[3]) : own[2] : ''];
  });
  draw($('over'), $('frame'), {lines: state.lines ? state.help.lines : [], boxes, chosen: state.chosen, cross: state.cross});
  references.paint();
}

export function showSecond(second) {
  const {clip, last_s: last} = state.target;
  state.second = Math.max(0, Math.min(last, second));
  const asked = state.target.second === state.second;
  const named = boxesHere().findIndex(box => box[0] === state.target.animal);
  state.chosen = asked && named >= 0 ? named : 0;
  $('time').value = state.second;
  $('second').textContent = `second ${state.second} of ${last}`;
  $('second').classList.toggle('elsewhere', !asked);
  $('home').hidden = asked;
  $('animal').disabled = boxesHere().length < 2;
  const address = `frame/${clip}/${state.second}`, picture = $('frame');
  picture.alt = `Second ${state.second} of the clip`;
  $('nothing').hidden = true;
  $('shown').classList.add('loading');
  const ready = () => {
    state.since ||= performance.now();
    $('shown').classList.remove('loading');
    paint();
  };
  picture.onload = ready;
  picture.onerror = async () => {
    $('nothing').textContent = `No picture: ${await get(address).then(() => 'it cannot be read', error => error.message)}`;
    $('nothing').hidden = false;
    ready();
  };
  picture.src = address;
}

export function stop() {
  clearInterval(state.timer);
  state.timer = 0;
  $('play').textContent = 'Play';
  $('play').setAttribute('aria-pressed', 'false');
  if (!$('video').hidden) {
    $('video').hidden = true;
    $('frame').hidden = $('over').toggleAttribute('hidden', false);
    $('video').pause();
    return Math.floor($('video').currentTime);
  }
  return null;
}

export function play() {
  if (state.timer) return void stop();
  if (state.second >= state.target.last_s) showSecond(0);
  $('play').textContent = 'Pause';
  $('play').setAttribute('aria-pressed', 'true');
  state.timer = setInterval(() => {
    if (state.second >= state.target.last_s) return void stop();
    if (!$('shown').classList.contains('loading')) showSecond(state.second + 1);
  }, 500);
}

export async function video() {
  const stopped = stop();
  if (stopped !== null) return showSecond(stopped);
  if (!state.target.video) return say('A browser cannot play this clip. Step by second, or press Space.');
  $('frame').hidden = true;
  $('over').toggleAttribute('hidden', true);
  $('video').hidden = false;
  $('video').onerror = () => { stop(); say('The browser cannot play this clip. Step by second, or press Space.', true); };
  $('video').src = `video/${state.target.clip}`;
  $('video').currentTime = state.second;
  $('video').play().catch(() => {});
}

export const step = seconds => { stop(); return showSecond(state.second + seconds); };
