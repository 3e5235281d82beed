// The events that came and went: a list to filter, open and copy.

import { breakable, byId, copies, element, follower, setText, show } from './dom.js';

const MOST_EVENTS = 1000;
const LONGEST_TEXT = 4000; // audio in an event is of no use to a reader
const DELTA = /(\.delta|rate_limits\.updated)$/;

export class EventLog {
  #events = []; // {at (ms since the call began), way, event, text, node}
  #dropped = 0;
  #begun = 0;
  #list = byId('events');
  #filter = byId('event-filter');
  #deltas = byId('event-deltas');
  #count = byId('event-count');
  #empty = byId('events-empty');
  #follow = follower(this.#list);
  #due = false;

  constructor() {
    this.#filter.addEventListener('input', () => this.#filterAll());
    this.#deltas.addEventListener('change', () => this.#filterAll());
    copies(byId('events-copy'), () => this.#json());
    byId('events-clear').addEventListener('click', () => this.clear());
  }

  begin(at) {
    this.#begun = at;
    this.clear();
  }

  clear() {
    this.#events = [];
    this.#dropped = 0;
    this.#list.replaceChildren();
    this.#recount();
  }

  // `way`: `received`, `sent`, or `page` for what happened here.
  add(way, event, at) {
    const one = { at: at - this.#begun, way, event: shortened(event) };
    one.text = JSON.stringify(one.event).toLowerCase();
    one.node = row(one);
    one.node.hidden = !this.#fits(one);
    this.#events.push(one);
    this.#list.append(one.node);
    if (this.#events.length > MOST_EVENTS) {
      this.#events.shift().node.remove();
      this.#dropped += 1;
    }
    this.#follow();
    this.#recountSoon();
  }

  #fits({ event, text }) {
    if (!this.#deltas.checked && DELTA.test(event.type)) return false;
    return text.includes(this.#filter.value.trim().toLowerCase());
  }

  #filterAll() {
    for (const one of this.#events) show(one.node, this.#fits(one));
    this.#recount();
  }

  // Events come in bursts, and nobody reads the number in the middle of one.
  #recountSoon() {
    if (this.#due) return;
    this.#due = true;
    setTimeout(() => this.#recount(), 200);
  }

  #recount() {
    this.#due = false;
    const total = this.#events.length;
    const shown = this.#events.filter(({ node }) => !node.hidden).length;
    const dropped = this.#dropped ? `, ${this.#dropped} older ones dropped` : '';
    setText(this.#count, `${shown} of ${total}${dropped}`);
    show(this.#empty, shown === 0);
    setText(this.#empty, total ? 'No event fits the filter.' : 'No events yet.');
  }

  // What is shown, to put into a report.
  #json() {
    const shown = this.#events.filter(({ node }) => !node.hidden);
    const plain = shown.map(({ at, way, event }) => ({ at_ms: Math.round(at), way, event }));
    return JSON.stringify(plain, null, 2);
  }
}

const ARROWS = { received: '←', sent: '→', page: '·' };
const WAYS = { received: 'received', sent: 'sent', page: 'on this page' };

function row({ at, way, event }) {
  const summary = element(
    'summary',
    {},
    element('time', { text: (at / 1000).toFixed(3) }),
    element('span', { class: 'way', 'aria-hidden': 'true', text: ARROWS[way] }),
    element('span', { class: 'visually-hidden', text: WAYS[way] }),
    element('span', { class: 'type' }, ...breakable(event.type)),
    element('span', { class: 'gist', text: gist(event) }),
  );
  const details = element('details', {}, summary);
  details.addEventListener('toggle', () => {
    if (!details.open || details.children.length > 1) return;
    details.append(element('pre', { tabindex: '0', text: JSON.stringify(event, null, 2) }));
  });
  return element('li', { 'data-way': way, 'data-family': family(event) }, details);
}

function family({ type, error }) {
  if (type === 'error') return error?.code === 'too_large' ? 'other' : 'error';
  if (type.startsWith('input_audio_buffer') || type.includes('input_audio_transcription')) return 'user';
  if (type.startsWith('output_audio_buffer') || type.startsWith('response')) return 'agent';
  return 'other';
}

// The one thing to see of an event without opening it.
function gist(event) {
  const { error, delta, transcript, text, name, state, audio_end_ms: endMs, audio_start_ms: startMs } = event;
  if (error) return error.message ?? error.code ?? '';
  if (endMs !== undefined) return `${endMs} ms`;
  if (startMs !== undefined) return `${startMs} ms`;
  if (event.type === 'input_audio_buffer.dtmf_event_received') return event.event;
  if (event.type === 'response.done') return event.response.status;
  return String(name ?? transcript ?? delta ?? text ?? state ?? '').slice(0, 80);
}

function shortened(value) {
  if (typeof value === 'string' && value.length > LONGEST_TEXT) {
    return `${value.slice(0, 60)}… (${value.length} characters)`;
  }
  if (Array.isArray(value)) return value.map(shortened);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, shortened(one)]));
}
