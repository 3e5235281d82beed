// What was said, made from the events of a session. Knows nothing of the document.
//
// An entry is {kind, revision, …}; `revision` grows with every change, so that a view knows what to
// draw anew. Kinds:
//
//   user    itemId, state (speaking | transcribing | said | failed), text
//   agent   itemId, responseId, state (waiting | speaking | said | cut), text, answeredMs, heardMs,
//           heardChars: with `cut`, how much of it was heard
//   tool    itemId, name, arguments, output, state (called | done | failed)
//   keys    keys, known: how many of them the line has reported
//   text    role, text: what was put into the conversation as text
//   note    tone (info | warn | error), text

const MOST_ENTRIES = 500;
const MOST_KEYS = 40;
// Until an answer has been heard to its end: an even voice.
const CHARS_PER_MS = 15 / 1000;

export class Conversation {
  #items = new Map(); // entries by item id
  #playing = null; // {responseId, since} of the answer that is heard
  #pace = { chars: 0, ms: 0 }; // of what has been heard to its end

  entries = [];
  transcribes = false; // whether the session makes text of what the caller says

  // Takes an event of the server that came at this time (ms). Returns the entries it changed.
  receive(event, at) {
    const take = TAKES[event.type];
    return (take?.call(this, event, at) ?? []).filter((entry) => entry !== null);
  }

  // A key was pressed on this page.
  press(key) {
    const last = this.entries.at(-1);
    if (last?.kind === 'keys' && last.keys.length < MOST_KEYS) {
      last.keys += key;
      return [this.#touch(last)];
    }
    return [this.#add({ kind: 'keys', keys: key, known: 0 })];
  }

  note(tone, text) {
    return [this.#add({ kind: 'note', tone, text })];
  }

  // How long the caller waited for this response.
  answered(responseId, ms) {
    const entry = this.#ofResponse(responseId);
    if (!entry) return [];
    entry.answeredMs = ms;
    return [this.#touch(entry)];
  }

  // The call is over: nothing is under way any more.
  end() {
    const open = this.entries.filter(({ state }) =>
      ['speaking', 'transcribing', 'waiting'].includes(state));
    return open.map((entry) => {
      entry.state = 'said';
      return this.#touch(entry);
    });
  }

  // The caller's turn is over.
  spoken(entry) {
    return this.change(entry, { state: this.transcribes ? 'transcribing' : 'said' });
  }

  userItem(itemId, state) {
    const known = this.#items.get(itemId);
    if (known) return known;
    return this.#add({ kind: 'user', itemId, state, text: '' });
  }

  agentItem(itemId, responseId) {
    const known = this.#items.get(itemId);
    if (known) return known;
    const state = this.#playing?.responseId === responseId ? 'speaking' : 'waiting';
    const text = '';
    return this.#add({ kind: 'agent', itemId, responseId, state, text, heardMs: null });
  }

  toolItem(item) {
    const known = this.#items.get(item.id);
    const args = item.arguments ?? '';
    if (!known) {
      const { id, name, call_id: callId } = item;
      return this.#add({
        kind: 'tool', itemId: id, callId, name, arguments: args, output: null, state: 'called',
      });
    }
    known.name = item.name ?? known.name;
    if (args) known.arguments = args;
    return this.#touch(known);
  }

  change(entry, changes) {
    if (!entry) return [];
    Object.assign(entry, changes);
    return [this.#touch(entry)];
  }

  // Adds to the text of an entry. The text of an answer comes faster than its sound, but not always.
  extend(entry, text) {
    return this.rewrite(entry, entry.text + (text ?? ''));
  }

  rewrite(entry, text) {
    entry.text = text;
    if (entry.state === 'cut') entry.heardChars = this.#charsIn(entry, entry.heardMs);
    return [this.#touch(entry)];
  }

  item(itemId) {
    return this.#items.get(itemId) ?? null;
  }

  tool(callId) {
    return this.entries.findLast((entry) => entry.kind === 'tool' && entry.callId === callId);
  }

  text(itemId, role, text) {
    return this.#add({ kind: 'text', itemId, role, text });
  }

  playing(responseId, at) {
    this.#playing = { responseId, since: at };
    return this.change(this.#ofResponse(responseId), { state: 'speaking' });
  }

  // The answer was heard to its end.
  played(responseId, at) {
    const entry = this.#ofResponse(responseId);
    const since = this.#stop(responseId);
    if (!entry) return [];
    if (since !== null && entry.text) {
      this.#pace.chars += entry.text.length;
      this.#pace.ms += at - since;
    }
    return this.change(entry, { state: 'said' });
  }

  // The answer was cut short; how much of it was heard comes later, and exactly.
  cut(responseId, at) {
    const since = this.#stop(responseId);
    const entry = this.#ofResponse(responseId);
    if (!entry || entry.heardMs !== null) return [];
    return this.cutAt(entry, since === null ? 0 : at - since);
  }

  cutAt(entry, heardMs) {
    return this.change(entry, { state: 'cut', heardMs, heardChars: this.#charsIn(entry, heardMs) });
  }

  keyReported() {
    const waiting = this.entries.findLast((entry) => entry.kind === 'keys');
    if (!waiting || waiting.known >= waiting.keys.length) return [];
    return this.change(waiting, { known: waiting.known + 1 });
  }

  // Where in the text the voice stopped, at the end of a word. Only the time is known for sure.
  #charsIn(entry, heardMs) {
    const pace = this.#pace.ms > 1000 ? this.#pace.chars / this.#pace.ms : CHARS_PER_MS;
    const about = Math.round(heardMs * pace);
    if (about >= entry.text.length) return entry.text.length;
    const space = entry.text.lastIndexOf(' ', about);
    return space < 0 ? 0 : space;
  }

  #stop(responseId) {
    if (this.#playing?.responseId !== responseId) return null;
    const { since } = this.#playing;
    this.#playing = null;
    return since;
  }

  // A response may have several items; the voice is in the last message of it.
  #ofResponse(responseId) {
    return this.entries.findLast(
      (entry) => entry.kind === 'agent' && entry.responseId === responseId,
    ) ?? null;
  }

  #add(entry) {
    entry.revision = 1;
    this.entries.push(entry);
    if (entry.itemId) this.#items.set(entry.itemId, entry);
    if (this.entries.length > MOST_ENTRIES) {
      const { itemId } = this.entries.shift();
      this.#items.delete(itemId);
    }
    return entry;
  }

  #touch(entry) {
    entry.revision += 1;
    return entry;
  }
}

// What each type of event changes. `this` is the conversation.
const TAKES = {
  'session.created': setUp,
  'session.updated': setUp,
  'input_audio_buffer.speech_started'({ item_id }) {
    return [this.userItem(item_id, 'speaking')];
  },
  'input_audio_buffer.speech_stopped'({ item_id }) {
    const entry = this.item(item_id);
    return entry?.state === 'speaking' ? this.spoken(entry) : [];
  },
  'input_audio_buffer.committed'({ item_id }) {
    const entry = this.userItem(item_id, 'speaking');
    return entry.state === 'speaking' ? this.spoken(entry) : [];
  },
  'conversation.item.added': addItem,
  'conversation.item.created': addItem,
  'conversation.item.done'({ item }) {
    return isTool(item) ? [this.toolItem(item)] : [];
  },
  'conversation.item.input_audio_transcription.delta'({ item_id, delta }) {
    return this.extend(this.userItem(item_id, 'transcribing'), delta);
  },
  'conversation.item.input_audio_transcription.completed'({ item_id, transcript }) {
    const entry = this.userItem(item_id, 'transcribing');
    return this.change(entry, { state: 'said', text: transcript.trim() });
  },
  'conversation.item.input_audio_transcription.failed'({ item_id, error }) {
    const entry = this.userItem(item_id, 'transcribing');
    return this.change(entry, { state: 'failed', text: error?.message ?? '' });
  },
  'conversation.item.truncated'({ item_id, audio_end_ms }) {
    const entry = this.item(item_id);
    return entry?.kind === 'agent' ? this.cutAt(entry, audio_end_ms) : [];
  },
  'response.output_item.added'({ response_id, item }) {
    if (item.type === 'message') return [this.agentItem(item.id, response_id)];
    return isTool(item) ? [this.toolItem(item)] : [];
  },
  'response.output_audio_transcript.delta': agentDelta,
  'response.output_text.delta': agentDelta,
  'response.output_audio_transcript.done': agentDone,
  'response.output_text.done': agentDone,
  'response.function_call_arguments.delta'({ item_id, delta }) {
    const entry = this.item(item_id);
    return entry ? this.change(entry, { arguments: entry.arguments + delta }) : [];
  },
  'response.function_call_arguments.done'(event) {
    return [this.toolItem({ ...event, id: event.item_id })];
  },
  'response.mcp_call_arguments.done'(event) {
    return [this.toolItem({ ...event, id: event.item_id })];
  },
  'response.mcp_call.completed'({ item_id }) {
    return this.change(this.item(item_id), { state: 'done' });
  },
  'response.mcp_call.failed'({ item_id }) {
    return this.change(this.item(item_id), { state: 'failed' });
  },
  'response.done': responseDone,
  'output_audio_buffer.started'({ response_id }, at) {
    return this.playing(response_id, at);
  },
  'output_audio_buffer.stopped'({ response_id }, at) {
    return this.played(response_id, at);
  },
  'output_audio_buffer.cleared'({ response_id }, at) {
    return this.cut(response_id, at);
  },
  'input_audio_buffer.dtmf_event_received'() {
    return this.keyReported();
  },
  error({ error }) {
    return this.note('error', error.message ?? error.code ?? 'An error without a word.');
  },
  'gateway.transfer.ended'({ result }) {
    return this.note('info', `Transfer: ${result.replaceAll('_', ' ')}.`);
  },
};

function setUp({ session }) {
  this.transcribes = Boolean(session.audio?.input?.transcription);
  return [];
}

function isTool({ type }) {
  return type === 'function_call' || type === 'mcp_call';
}

function addItem({ item }) {
  if (isTool(item)) return [this.toolItem(item)];
  if (item.type === 'function_call_output') {
    return this.change(this.tool(item.call_id), { output: item.output, state: 'done' });
  }
  if (item.type !== 'message' || item.role === 'assistant' || this.item(item.id)) return [];
  const content = item.content ?? [];
  const text = content.map((part) => part.text ?? '').join(' ').trim();
  if (text) return [this.text(item.id, item.role, text)];
  return content.some(({ type }) => type === 'input_audio')
    ? this.spoken(this.userItem(item.id, 'speaking'))
    : [];
}

function agentDelta({ item_id, response_id, delta }) {
  return this.extend(this.agentItem(item_id, response_id), delta);
}

function agentDone({ item_id, response_id, transcript, text }) {
  const entry = this.agentItem(item_id, response_id);
  const whole = transcript ?? text ?? '';
  // Of an answer that was cut short, a server may say what was heard only; we have seen the rest.
  return whole.length > entry.text.length ? this.rewrite(entry, whole) : [entry];
}

function responseDone({ response }) {
  const { status, status_details: details } = response;
  const silent = this.entries.filter(
    (entry) => entry.responseId === response.id && entry.state === 'waiting',
  );
  // Text only, or cut before the first sound: no buffer will tell of its end.
  const settled = response.output_modalities?.includes('text') || status !== 'completed'
    ? silent.flatMap((entry) => (status === 'completed'
      ? this.change(entry, { state: 'said' })
      : this.cutAt(entry, 0)))
    : [];
  if (status === 'failed') {
    const why = details?.error?.message ?? details?.error?.code ?? 'it did not say why';
    return [...settled, ...this.note('error', `The agent’s answer failed: ${why}`)];
  }
  if (status === 'incomplete') {
    const why = (details?.reason ?? 'unknown').replaceAll('_', ' ');
    return [...settled, ...this.note('warn', `The agent’s answer is incomplete: ${why}`)];
  }
  return settled;
}
