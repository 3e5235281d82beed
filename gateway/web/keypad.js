// The keys of a phone: by mouse, by touch and on the keyboard.

import { byId, element } from './dom.js';

const KEYS = [
  ['1', ''], ['2', 'abc'], ['3', 'def'],
  ['4', 'ghi'], ['5', 'jkl'], ['6', 'mno'],
  ['7', 'pqrs'], ['8', 'tuv'], ['9', 'wxyz'],
  ['*', ''], ['0', '+'], ['#', ''],
];
const NAMES = { '*': 'star', '#': 'hash' };
const LIT_MS = 150;

export class Keypad {
  #buttons = new Map();
  #pressed;

  // `pressed` is called with each key, while the keypad is enabled.
  constructor(pressed) {
    this.#pressed = pressed;
    for (const [key, letters] of KEYS) {
      const button = element(
        'button',
        { type: 'button', class: 'key', 'aria-label': NAMES[key], disabled: true },
        element('span', { text: key }),
        element('small', { text: letters }),
      );
      button.addEventListener('click', () => pressed(key));
      this.#buttons.set(key, button);
    }
    byId('keypad').append(...this.#buttons.values());
    document.addEventListener('keydown', (event) => this.#typed(event));
  }

  enable(enabled) {
    for (const button of this.#buttons.values()) button.disabled = !enabled;
  }

  #typed(event) {
    const button = this.#buttons.get(event.key);
    const taken = event.ctrlKey || event.metaKey || event.altKey || event.repeat;
    if (!button || button.disabled || taken || isWriting(event.target)) return;
    event.preventDefault();
    button.classList.add('lit');
    setTimeout(() => button.classList.remove('lit'), LIT_MS);
    this.#pressed(event.key);
  }
}

function isWriting(target) {
  return target instanceof Element && target.closest('input, textarea, select, dialog') !== null;
}
