// Shows what went wrong and what to do about it, in the one place that the page has for it.

import { breakable, byId, element, setText, show } from './dom.js';

const SETTING = /(GATEWAY_[A-Z_]+[A-Z])/;

export class Trouble {
  #act = null;

  constructor() {
    byId('trouble-act').addEventListener('click', () => {
      this.#close();
      this.#act();
    });
    byId('trouble-close').addEventListener('click', () => this.#close());
  }

  // `act`: does what the trouble offers, within the click.
  show({ title, text, hints, offer }, act = null) {
    this.#act = act;
    setText(byId('trouble-title'), title);
    setText(byId('trouble-text'), text);
    byId('trouble-hints').replaceChildren(...hints.map((hint) => element('li', {}, ...marked(hint))));
    setText(byId('trouble-act'), offer ?? '');
    show(byId('trouble-act'), Boolean(offer && act));
    show(byId('trouble'), true);
  }

  clear() {
    show(byId('trouble'), false);
  }

  #close() {
    this.clear();
    byId('call').focus();
  }
}

// The names of settings, as such.
function marked(text) {
  return text.split(SETTING).map((part) =>
    (SETTING.test(part) ? element('code', {}, ...breakable(part)) : part));
}
