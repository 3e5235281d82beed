// Asks for the API key, when the gateway does.

import { byId, setText, show } from './dom.js';
import { keyWords } from './words.js';

export class KeyQuestion {
  #api;
  #opened;

  // `opened` is called when a key was accepted.
  constructor(api, opened) {
    this.#api = api;
    this.#opened = opened;
    byId('key').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#given(byId('key-field').value.trim());
    });
  }

  // `error`: the answer that asked.
  ask(error) {
    const open = !byId('key').hidden;
    setText(byId('key-text'), keyWords(error, this.#api.hasKey));
    byId('key').dataset.wrong = String(this.#api.hasKey);
    this.#api.key = '';
    show(byId('key'), true);
    if (!open) byId('key-field').focus();
  }

  async #given(key) {
    if (!key) return;
    this.#api.key = key;
    try {
      const softphone = await this.#api.softphone();
      show(byId('key'), false);
      byId('key-field').value = '';
      byId('call').focus();
      this.#opened(softphone);
    } catch (error) {
      if (error.status === 401 || error.status === 403) this.ask(error);
      else setText(byId('key-text'), error.message);
      byId('key-field').select();
    }
  }
}
