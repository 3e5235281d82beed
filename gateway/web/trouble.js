// Shows what went wrong and what to do about it, in the one place that the page has for it.

import { breakable, byId, element, setText, show } from './dom.js';

const SETTING = /(GATEWAY_[A-Z_]+[A-Z])/;

export class Trouble {
  #listen = null;

  constructor() {
    byId('trouble-listen').addEventListener('click', () => this.#listen?.());
    byId('trouble-close').addEventListener('click', () => {
      this.clear();
      byId('call').focus();
    });
  }

  // `listen`: begins a call without a microphone, where the trouble leaves that open.
  show({ title, text, hints, listen: canListen }, listen = null) {
    this.#listen = listen;
    setText(byId('trouble-title'), title);
    setText(byId('trouble-text'), text);
    byId('trouble-hints').replaceChildren(...hints.map((hint) => element('li', {}, ...marked(hint))));
    show(byId('trouble-listen'), canListen && listen !== null);
    show(byId('trouble'), true);
  }

  clear() {
    show(byId('trouble'), false);
  }
}

// The names of settings, as such.
function marked(text) {
  return text.split(SETTING).map((part) =>
    (SETTING.test(part) ? element('code', {}, ...breakable(part)) : part));
}
