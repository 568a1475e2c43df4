// Pictures of the same station in which something stands at a known distance: beside the picture or blended over it.

import {draw} from './overlay.js';

const MODES = ['off', 'beside', 'over'];

export class References {
  constructor($) {
    Object.assign(this, {$, list: [], index: 0, mode: 'off', onchange: () => {}});
    $('blend').addEventListener('input', () => this.blend(0));
    $('reference').addEventListener('load', () => this.onchange());
  }

  // The chosen distance stays chosen as long as the station has it.
  set(list, first) {
    const before = this.list[this.index];
    this.list = list;
    const same = before ? list.findIndex(one => one.distance_m === before.distance_m) : -1;
    this.index = !first && same >= 0 ? same : Math.max(0, Math.min(this.index, list.length - 1));
    this.show();
  }

  turn() {
    if (!this.list.length) { this.mode = 'off'; this.show(); return false; }
    this.mode = MODES[(MODES.indexOf(this.mode) + 1) % MODES.length];
    this.show();
    return true;
  }

  step(by) {
    if (!this.list.length) return;
    this.index = (this.index + by + this.list.length) % this.list.length;
    this.show();
  }

  blend(by) {
    const slider = this.$('blend');
    slider.value = Number(slider.value) + by;
    this.$('pictures').style.setProperty('--blend', slider.value / 100);
  }

  show() {
    const {$, mode} = this, one = this.list[this.index], on = mode !== 'off' && !!one;
    $('references').hidden = !on;
    $('beside').hidden = !(on && mode === 'beside');
    $('pictures').classList.toggle('two', on && mode === 'beside');
    $('blended').hidden = $('blend-label').hidden = !(on && mode === 'over');
    $('mode').firstChild.textContent = on ? `Reference: ${mode === 'over' ? 'blended' : mode} ` : 'Reference ';
    $('mode').setAttribute('aria-pressed', on);
    if (!on) return;
    const address = `frame/${one.clip}/${one.second}`;
    if (mode === 'beside') Object.assign($('reference'), {src: address, alt: `A reference at ${one.distance_m} m`});
    else $('blended').src = address;
    $('reference-text').textContent = `${Number(one.distance_m.toFixed(2))} m (${one.what})`;
    $('chips').replaceChildren(...this.list.map((other, number) => {
      const chip = Object.assign(document.createElement('button'), {type: 'button', textContent: `${Number(other.distance_m.toFixed(2))} m`});
      chip.setAttribute('aria-pressed', number === this.index);
      chip.onclick = () => { this.index = number; this.show(); this.onchange(); };
      return chip;
    }));
  }

  paint() {
    const one = this.list[this.index];
    if (this.mode !== 'beside' || !one) return;
    const foot = one.x === null ? null : {x: one.x, y: one.y, text: `${Number(one.distance_m.toFixed(2))} m`};
    draw(this.$('over-reference'), this.$('reference'), {foot});
  }
}
