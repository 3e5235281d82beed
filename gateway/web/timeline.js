// Who spoke when, made from the events of a session. Knows nothing of the document.
//
// All times are milliseconds of the page's clock. A span is {from, to, id}, with `to` null while it
// goes on; a span of the agent that was interrupted has `cut: true`, and `heardMs` once it is known.

import { count, median, span as spanText, spokenTime } from './format.js';

const MOST_SPANS = 1000;
const TRUNCATED_WITHIN_MS = 5000; // of the buffer's clearing
const SLOT_MS = 50;
const MOST_SLOTS = (3600 * 1000) / SLOT_MS;

export class Timeline {
  user = [];
  agent = [];
  keys = []; // {at, key}
  answers = []; // {from, to, ms, id}: from the end of the caller's turn to the first sound
  levels = { user: new LevelHistory(), agent: new LevelHistory() };
  begun = null;
  ended = null;

  begin(at) {
    this.begun = at;
    this.levels.user.begin(at);
    this.levels.agent.begin(at);
  }

  // Whoever still speaks is silent from here on.
  end(at) {
    this.ended = at;
    for (const lane of [this.user, this.agent]) {
      const last = lane.at(-1);
      if (last && last.to === null) last.to = at;
    }
  }

  press(key, at) {
    keep(this.keys, { at, key });
  }

  // Takes an event of the server. Returns the answer that it completes, if it does.
  receive(event, at) {
    switch (event.type) {
      case 'input_audio_buffer.speech_started':
        keep(this.user, { from: at, to: null, id: event.item_id });
        return null;
      case 'input_audio_buffer.speech_stopped':
        close(this.user, at);
        return null;
      case 'output_audio_buffer.started':
        close(this.agent, at);
        keep(this.agent, { from: at, to: null, id: event.response_id, cut: false, heardMs: null });
        return this.#answer(event.response_id, at);
      case 'output_audio_buffer.stopped':
        close(this.agent, at);
        return null;
      case 'output_audio_buffer.cleared':
        this.#cut(at);
        return null;
      case 'conversation.item.truncated':
        this.#truncated(event.audio_end_ms, at);
        return null;
      default:
        return null;
    }
  }

  get interruptions() {
    return this.agent.filter(({ cut }) => cut);
  }

  get responseMs() {
    return this.answers.map(({ ms }) => ms);
  }

  // All that happened, in order: {at, what}. For those who cannot see the picture.
  rows() {
    const rows = [
      ...this.user.map((one) => ({ at: one.from, what: `You spoke ${lasting(one)}` })),
      ...this.agent.map((one) => ({ at: one.from, what: agentRow(one) })),
      ...this.answers.map(({ to, ms }) => ({ at: to, what: `Response after ${spanText(ms)}` })),
      ...this.keys.map(({ at, key }) => ({ at, what: `Key ${key}` })),
    ];
    return rows.sort((one, other) => one.at - other.at);
  }

  // The whole picture in a few sentences.
  summary(now) {
    if (this.begun === null) return 'No call yet.';
    const seconds = ((this.ended ?? now) - this.begun) / 1000;
    const said = [
      `${spokenTime(seconds)} of call.`,
      `You spoke ${times(this.user)}, the agent ${times(this.agent)}.`,
    ];
    const { interruptions, responseMs } = this;
    if (interruptions.length) {
      const heardMs = interruptions.at(-1).heardMs;
      const where = heardMs === null ? '' : `, the last time after ${spanText(heardMs)} of voice`;
      said.push(`Interrupted ${times(interruptions)}${where}.`);
    }
    if (responseMs.length) {
      const last = spanText(responseMs.at(-1));
      said.push(`Response time: ${last}, median ${spanText(median(responseMs))}.`);
    }
    if (this.keys.length) said.push(`${count(this.keys.length, 'key')} pressed.`);
    return said.join(' ');
  }

  // Only the first sound after the caller's turn answers it, and not if a key came in between.
  #answer(id, at) {
    const turn = this.user.at(-1);
    if (!turn || turn.to === null || turn.answered) return null;
    turn.answered = true;
    if (this.keys.length && this.keys.at(-1).at > turn.to) return null;
    const answer = { from: turn.to, to: at, ms: at - turn.to, id };
    keep(this.answers, answer);
    return answer;
  }

  #cut(at) {
    const last = this.agent.at(-1);
    if (!last || last.to !== null) return;
    last.to = at;
    last.cut = true;
  }

  #truncated(heardMs, at) {
    const last = this.agent.at(-1);
    if (last?.cut && last.heardMs === null && at - last.to < TRUNCATED_WITHIN_MS) {
      last.heardMs = heardMs;
    }
  }
}

// How loud it was, in slots of 50 ms since the call began; after an hour no more is kept.
export class LevelHistory {
  #from = 0;
  #slots = new Uint8Array(0);
  #end = 0;

  begin(at) {
    this.#from = at;
    this.#slots = new Uint8Array(2048);
    this.#end = 0;
  }

  // `level` from 0 to 1.
  add(level, at) {
    const slot = Math.floor((at - this.#from) / SLOT_MS);
    if (slot < 0 || slot >= MOST_SLOTS) return;
    if (slot >= this.#slots.length) this.#grow(slot);
    this.#slots[slot] = Math.max(this.#slots[slot], Math.round(255 * level));
    this.#end = Math.max(this.#end, slot + 1);
  }

  // The loudest within a stretch of time, 0 to 1.
  peak(from, to) {
    const first = Math.max(0, Math.floor((from - this.#from) / SLOT_MS));
    const last = Math.min(this.#end, Math.ceil((to - this.#from) / SLOT_MS));
    let peak = 0;
    for (let slot = first; slot < last; slot += 1) peak = Math.max(peak, this.#slots[slot]);
    return peak / 255;
  }

  #grow(slot) {
    const longer = new Uint8Array(Math.min(MOST_SLOTS, Math.max(2 * this.#slots.length, slot + 1)));
    longer.set(this.#slots);
    this.#slots = longer;
  }
}

function keep(list, one) {
  list.push(one);
  if (list.length > MOST_SPANS) list.shift();
}

function close(lane, at) {
  const last = lane.at(-1);
  if (last && last.to === null) last.to = at;
}

function lasting({ from, to }) {
  return to === null ? '(goes on)' : `for ${spanText(to - from)}`;
}

function agentRow(one) {
  if (!one.cut) return `The agent spoke ${lasting(one)}`;
  const heard = one.heardMs ?? one.to - one.from;
  return `The agent was interrupted; the voice stopped after ${spanText(heard)}`;
}

function times(list) {
  return ['never', 'once', 'twice'][list.length] ?? `${list.length} times`;
}
