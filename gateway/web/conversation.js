// What was said, made from the events of a session. Knows nothing of the document.
//
// An entry is {kind, revision, …}; `revision` grows with every change, so that a view knows what to
// draw anew. Kinds:
//
//   user    itemId, state (speaking | transcribing | said | failed), text
//   agent   itemId, responseId, state (waiting | speaking | said | cut), text; answeredMs: how long
//           the caller waited for it; with `cut`, heardMs, and heardChars: how much was heard
//   tool    itemId, callId, name, arguments, output, state (called | done | failed)
//   keys    keys, known: how many of them the line has reported
//   text    itemId, role, text: what was put into the conversation as text
//   note    tone (info | warn | error), text

const MOST_ENTRIES = 500;
const MOST_KEYS = 40;
// Of speech, until an answer has been heard to its end.
const CHARS_PER_MS = 15 / 1000;

export class Conversation {
  #items = new Map(); // entries by item id
  #playing = null; // {responseId, since} of the answer that is heard
  #pace = { chars: 0, ms: 0 }; // of what was heard to its end
  #transcribes = false; // whether the session makes text of what the caller says

  entries = [];

  // Takes an event of the server that came at this time (ms).
  receive(event, at) {
    TAKES[event.type]?.call(this, event, at);
  }

  // A key was pressed on this page.
  press(key) {
    const last = this.entries.at(-1);
    if (last?.kind === 'keys' && last.keys.length < MOST_KEYS) {
      this.change(last, { keys: last.keys + key });
    } else {
      this.#add({ kind: 'keys', keys: key, known: 0 });
    }
  }

  note(tone, text) {
    this.#add({ kind: 'note', tone, text });
  }

  // How long the caller waited for this response.
  answered(responseId, ms) {
    this.change(this.#ofResponse(responseId), { answeredMs: ms });
  }

  // The call is over: nothing is under way any more, and what was being said was not said in full.
  end(at) {
    if (this.#playing) this.cleared(this.#playing.responseId, at);
    for (const entry of this.entries) {
      const { kind, state } = entry;
      if (kind === 'agent' && state === 'waiting') this.change(entry, { state: 'cut', heardMs: 0 });
      else if (state === 'speaking' || state === 'transcribing') this.change(entry, { state: 'said' });
    }
  }

  // From here on for the events below.

  setUp({ audio }) {
    this.#transcribes = Boolean(audio?.input?.transcription);
  }

  item(itemId) {
    return this.#items.get(itemId) ?? null;
  }

  userItem(itemId) {
    return this.item(itemId) ?? this.#add({ kind: 'user', itemId, state: 'speaking', text: '' });
  }

  // The caller's turn is over.
  spoken(entry) {
    if (entry?.kind !== 'user' || entry.state !== 'speaking') return;
    this.change(entry, { state: this.#transcribes ? 'transcribing' : 'said' });
  }

  agentItem(itemId, responseId) {
    const state = this.#playing?.responseId === responseId ? 'speaking' : 'waiting';
    return this.item(itemId)
      ?? this.#add({ kind: 'agent', itemId, responseId, state, text: '', heardMs: null });
  }

  toolItem({ id, name, call_id: callId, arguments: args }) {
    const known = this.item(id);
    if (known) {
      this.change(known, { name: name ?? known.name, arguments: args || known.arguments });
    } else {
      const given = { itemId: id, callId, name, arguments: args ?? '' };
      this.#add({ kind: 'tool', ...given, output: null, state: 'called' });
    }
  }

  toolResult(callId, output) {
    const called = this.entries.findLast((one) => one.kind === 'tool' && one.callId === callId);
    this.change(called, { output, state: 'done' });
  }

  textItem(itemId, role, text) {
    this.#add({ kind: 'text', itemId, role, text });
  }

  change(entry, changes) {
    if (!entry) return;
    Object.assign(entry, changes);
    // The text of an answer comes faster than its sound, but some may come after the cut.
    if (entry.state === 'cut') entry.heardChars = this.#charsIn(entry, entry.heardMs);
    entry.revision += 1;
  }

  playing(responseId, at) {
    this.#playing = { responseId, since: at };
    this.change(this.#ofResponse(responseId), { state: 'speaking' });
  }

  // The answer was heard to its end.
  played(responseId, at) {
    const entry = this.#ofResponse(responseId);
    const heardMs = this.#stop(responseId, at);
    if (!entry) return;
    if (heardMs) {
      this.#pace.chars += entry.text.length;
      this.#pace.ms += heardMs;
    }
    this.change(entry, { state: 'said' });
  }

  // The answer was cut short. How much of it was heard may come later, and exactly.
  cleared(responseId, at) {
    const entry = this.#ofResponse(responseId);
    const heardMs = this.#stop(responseId, at);
    if (entry && entry.heardMs === null) this.change(entry, { state: 'cut', heardMs });
  }

  truncated(itemId, heardMs) {
    const entry = this.item(itemId);
    if (entry?.kind === 'agent') this.change(entry, { state: 'cut', heardMs });
  }

  // Text only, or stopped before the first sound: no sound will end.
  settled({ id, status, output_modalities: modalities }) {
    const cut = status !== 'completed';
    if (!cut && !modalities?.includes('text')) return;
    for (const entry of this.entries) {
      if (entry.responseId !== id || entry.state !== 'waiting') continue;
      this.change(entry, cut ? { state: 'cut', heardMs: 0 } : { state: 'said' });
    }
  }

  keyReported() {
    const pressed = this.entries.findLast(({ kind }) => kind === 'keys');
    if (pressed && pressed.known < pressed.keys.length) {
      this.change(pressed, { known: pressed.known + 1 });
    }
  }

  // Where in the text the voice stopped, at the end of a word. Only the time is known for sure.
  #charsIn({ text }, heardMs) {
    const pace = this.#pace.ms > 1000 ? this.#pace.chars / this.#pace.ms : CHARS_PER_MS;
    const about = Math.round(heardMs * pace);
    return about >= text.length ? text.length : Math.max(0, text.lastIndexOf(' ', about));
  }

  // How long this response was heard.
  #stop(responseId, at) {
    if (this.#playing?.responseId !== responseId) return 0;
    const { since } = this.#playing;
    this.#playing = null;
    return at - since;
  }

  // A response may have several items; the voice is in the last message of it.
  #ofResponse(responseId) {
    return this.entries.findLast(
      (entry) => entry.kind === 'agent' && entry.responseId === responseId,
    );
  }

  #add(entry) {
    entry.revision = 1;
    this.entries.push(entry);
    if (entry.itemId) this.#items.set(entry.itemId, entry);
    if (this.entries.length > MOST_ENTRIES) this.#items.delete(this.entries.shift().itemId);
    return entry;
  }
}

// What to make of each type of event; `this` is the conversation.
const TAKES = {
  'session.created'({ session }) {
    this.setUp(session);
  },
  'session.updated'({ session }) {
    this.setUp(session);
  },
  'input_audio_buffer.speech_started'({ item_id }) {
    this.userItem(item_id);
  },
  'input_audio_buffer.speech_stopped'({ item_id }) {
    this.spoken(this.item(item_id));
  },
  'input_audio_buffer.committed'({ item_id }) {
    this.spoken(this.userItem(item_id));
  },
  'input_audio_buffer.dtmf_event_received'() {
    this.keyReported();
  },
  'conversation.item.added': itemAdded,
  'conversation.item.created': itemAdded,
  'conversation.item.done'({ item }) {
    if (isTool(item)) this.toolItem(item);
  },
  'conversation.item.input_audio_transcription.delta'({ item_id, delta }) {
    const entry = this.userItem(item_id);
    this.change(entry, { text: entry.text + (delta ?? '') });
  },
  'conversation.item.input_audio_transcription.completed'({ item_id, transcript }) {
    this.change(this.userItem(item_id), { state: 'said', text: transcript.trim() });
  },
  'conversation.item.input_audio_transcription.failed'({ item_id, error }) {
    this.change(this.userItem(item_id), { state: 'failed', text: error?.message ?? '' });
  },
  'conversation.item.truncated'({ item_id, audio_end_ms }) {
    this.truncated(item_id, audio_end_ms);
  },
  'response.output_item.added'({ response_id, item }) {
    if (isTool(item)) this.toolItem(item);
    else if (item.type === 'message') this.agentItem(item.id, response_id);
  },
  'response.output_audio_transcript.delta': agentDelta,
  'response.output_text.delta': agentDelta,
  'response.output_audio_transcript.done': agentDone,
  'response.output_text.done': agentDone,
  'response.function_call_arguments.delta'({ item_id, delta }) {
    const entry = this.item(item_id);
    if (entry) this.change(entry, { arguments: entry.arguments + delta });
  },
  'response.function_call_arguments.done'(event) {
    this.toolItem({ ...event, id: event.item_id });
  },
  'response.mcp_call_arguments.done'(event) {
    this.toolItem({ ...event, id: event.item_id });
  },
  'response.mcp_call.completed'({ item_id }) {
    this.change(this.item(item_id), { state: 'done' });
  },
  'response.mcp_call.failed'({ item_id }) {
    this.change(this.item(item_id), { state: 'failed' });
  },
  'response.done'({ response }) {
    this.settled(response);
    const { status, status_details: details } = response;
    const why = details?.error?.message ?? details?.reason ?? 'the server did not say why';
    if (status === 'failed') this.note('error', `The agent’s answer failed: ${why}`);
    if (status === 'incomplete') this.note('warn', `The agent’s answer is incomplete: ${why}`);
  },
  'output_audio_buffer.started'({ response_id }, at) {
    this.playing(response_id, at);
  },
  'output_audio_buffer.stopped'({ response_id }, at) {
    this.played(response_id, at);
  },
  'output_audio_buffer.cleared'({ response_id }, at) {
    this.cleared(response_id, at);
  },
  error({ error }) {
    if (error.code === 'too_large') return; // an event is missing here, and nothing else is wrong
    this.note('error', error.message ?? error.code ?? 'An error, without a word about it.');
  },
};

function isTool({ type }) {
  return type === 'function_call' || type === 'mcp_call';
}

function itemAdded({ item }) {
  if (isTool(item)) this.toolItem(item);
  else if (item.type === 'function_call_output') this.toolResult(item.call_id, item.output);
  else if (item.type === 'message' && item.role !== 'assistant' && !this.item(item.id)) {
    const content = item.content ?? [];
    const text = content.map((part) => part.text ?? '').join(' ').trim();
    if (text) this.textItem(item.id, item.role, text);
    else if (content.some(({ type }) => type === 'input_audio')) this.spoken(this.userItem(item.id));
  }
}

function agentDelta({ item_id, response_id, delta }) {
  const entry = this.agentItem(item_id, response_id);
  this.change(entry, { text: entry.text + delta });
}

// Of an answer that was cut short a server may tell what was heard only; we have seen the rest.
function agentDone({ item_id, response_id, transcript, text }) {
  const entry = this.agentItem(item_id, response_id);
  const whole = transcript ?? text ?? '';
  if (whole.length > entry.text.length) this.change(entry, { text: whole });
}
