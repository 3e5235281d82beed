// Puts the page together.

import { Api } from './api.js';
import { byId, copies, setText, show } from './dom.js';
import { KeyQuestion } from './key.js';
import { Line } from './line.js';
import { Phone } from './phone.js';
import { Tabs } from './tabs.js';
import { Trouble } from './trouble.js';
import { startTrouble } from './words.js';

const api = new Api();
const trouble = new Trouble();
const question = new KeyQuestion(api, (softphone) => {
  told(softphone);
  line.visible(!byId('panel-line').hidden);
});
const needKey = (error) => question.ask(error);
const phone = new Phone(api, trouble, needKey);
const line = new Line(api, needKey, () => phone.callId);
new Tabs(byId('tabs'), (panel) => line.visible(panel === 'panel-line'));

copies(byId('copy-dial'), () => byId('dial').textContent);
api.softphone().then(told, (error) => {
  if (error.status === 401 || error.status === 403) needKey(error);
  else trouble.show(startTrouble(error));
});

function told(softphone) {
  phone.told(softphone);
  const { dial, version, model } = softphone;
  for (const place of document.querySelectorAll('[data-told=dial]')) setText(place, dial);
  setText(byId('version'), `${version}, ${model}`);
  show(byId('dial-box'), true);
}
