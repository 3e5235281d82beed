// What the card of the phone looks like in each state of a call.

import { byId, setText, show } from './dom.js';
import { clock, percent, span } from './format.js';

const STATUS = {
  idle: 'Your browser will ask for the microphone',
  asking: 'Waiting for the microphone: say yes to the browser',
  placing: 'Calling…',
  connecting: 'Connecting…',
};
const IN_CALL = ['placing', 'connecting', 'active'];

export function isInCall(state) {
  return IN_CALL.includes(state);
}

export class Screen {
  state = 'idle';
  since = -Infinity; // when it came to be in this state

  constructor() {
    const toggle = byId('keypad-toggle');
    toggle.addEventListener('click', () => {
      const open = toggle.getAttribute('aria-expanded') !== 'true';
      toggle.setAttribute('aria-expanded', String(open));
      byId('keypad').classList.toggle('open', open);
    });
    byId('in-call').open = matchMedia('(min-width: 760px)').matches;
    this.show('idle');
  }

  show(state) {
    if (state !== this.state) this.since = performance.now();
    this.state = state;
    const inCall = isInCall(state);
    document.body.dataset.call = state;
    document.body.toggleAttribute('data-busy', inCall);
    const label = inCall ? 'Hang up' : state === 'ended' ? 'Call again' : 'Call the agent';
    setText(byId('call-label'), label);
    // Whoever asked for another microphone meanwhile would take it from the call.
    for (const id of ['call', 'check', 'microphone']) byId(id).disabled = state === 'asking';
    byId('mute').disabled = state !== 'active';
    show(byId('setup'), !inCall);
    show(byId('check'), !inCall);
    show(byId('in-call'), inCall);
    show(byId('clock'), inCall);
    show(byId('meter-agent-row'), inCall);
    if (state in STATUS) this.say(STATUS[state]);
  }

  // There is nobody to call from here.
  off() {
    this.say('Phones only');
    for (const id of ['call', 'check', 'microphone']) byId(id).disabled = true;
  }

  // Who speaks, in a call that is active.
  follow({ user, agent }, muted) {
    const listening = muted ? 'Muted: the agent does not hear you' : 'The agent is listening';
    this.say(user ? 'You are speaking' : agent ? 'The agent is speaking' : listening);
  }

  say(text) {
    setText(byId('status-text'), text);
  }

  mute(muted) {
    byId('mute').setAttribute('aria-pressed', String(muted));
    setText(byId('mute-label'), muted ? 'Unmute' : 'Mute');
  }

  // The microphone is open for its meter only.
  checking(open) {
    setText(byId('check-label'), open ? 'Stop' : 'Test');
  }

  call(id) {
    setText(byId('call-id'), id);
    show(byId('call-id-row'), id !== '');
  }

  duration(ms) {
    setText(byId('clock'), clock(ms / 1000));
  }

  // As Call tells them.
  figures({ codec, path, roundTripMs, jitterMs, lostIn, lostOut }) {
    const write = (name, value, words) => setText(byId(`figure-${name}`), value === undefined ? '–' : words(value));
    write('codec', codec, (name) => (name === 'opus' ? 'Opus' : name));
    write('path', path, String);
    write('round-trip', roundTripMs, span);
    write('jitter', jitterMs, span);
    write('lost-in', lostIn, percent);
    write('lost-out', lostOut, percent);
  }
}
