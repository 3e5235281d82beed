import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Conversation } from '../../gateway/web/conversation.js';

const TEXT = 'One two three four five six seven eight nine ten.';

function conversation({ transcribes = true } = {}) {
  const made = new Conversation();
  const transcription = transcribes ? { model: 'any' } : null;
  made.receive({ type: 'session.created', session: { audio: { input: { transcription } } } }, 0);
  return made;
}

function answers(made, n, text, at) {
  const [response_id, item_id] = [`resp_${n}`, `item_${n}`];
  const item = { id: item_id, type: 'message', role: 'assistant', content: [] };
  made.receive({ type: 'response.output_item.added', response_id, item }, at);
  made.receive({ type: 'output_audio_buffer.started', response_id }, at);
  for (const delta of text.split(/(?<= )/)) {
    made.receive({ type: 'response.output_audio_transcript.delta', response_id, item_id, delta }, at);
  }
  return made.entries.find((entry) => entry.itemId === item_id);
}

test('a turn of the caller stands where it began, and its words come later', () => {
  const made = conversation();
  made.receive({ type: 'input_audio_buffer.speech_started', item_id: 'item_u' }, 0);
  assert.equal(made.entries[0].state, 'speaking');
  made.receive({ type: 'input_audio_buffer.speech_stopped', item_id: 'item_u' }, 900);
  made.receive({ type: 'input_audio_buffer.committed', item_id: 'item_u' }, 900);
  answers(made, 1, 'Hello!', 1200);
  assert.equal(made.entries[0].state, 'transcribing');
  const kind = 'conversation.item.input_audio_transcription';
  made.receive({ type: `${kind}.delta`, item_id: 'item_u', delta: 'Good ' }, 1300);
  assert.equal(made.entries[0].text, 'Good ');
  made.receive({ type: `${kind}.completed`, item_id: 'item_u', transcript: 'Good day. ' }, 1400);
  assert.deepEqual(made.entries.map(({ kind: one, text }) => [one, text]), [
    ['user', 'Good day.'],
    ['agent', 'Hello!'],
  ]);
});

test('without transcription nobody waits for words', () => {
  const made = conversation({ transcribes: false });
  made.receive({ type: 'input_audio_buffer.speech_started', item_id: 'item_u' }, 0);
  made.receive({ type: 'input_audio_buffer.speech_stopped', item_id: 'item_u' }, 900);
  assert.equal(made.entries[0].state, 'said');
});

test('a transcription that fails says so', () => {
  const made = conversation();
  made.receive({ type: 'input_audio_buffer.committed', item_id: 'item_u' }, 0);
  const type = 'conversation.item.input_audio_transcription.failed';
  made.receive({ type, item_id: 'item_u', error: { message: 'too noisy' } }, 10);
  assert.deepEqual([made.entries[0].state, made.entries[0].text], ['failed', 'too noisy']);
});

test('an interruption shows how far the voice came, by the pace of what was heard before', () => {
  const made = conversation();
  answers(made, 1, TEXT, 0);
  made.receive({ type: 'output_audio_buffer.stopped', response_id: 'resp_1' }, 4900); // 10 a second
  assert.equal(made.entries[0].state, 'said');
  const cut = answers(made, 2, TEXT, 6000);
  made.receive({ type: 'output_audio_buffer.cleared', response_id: 'resp_2' }, 8200);
  assert.deepEqual([cut.state, cut.heardMs], ['cut', 2200]);
  const type = 'conversation.item.truncated';
  made.receive({ type, item_id: 'item_2', content_index: 0, audio_end_ms: 2000 }, 8210);
  assert.equal(cut.heardMs, 2000);
  assert.equal(cut.text.slice(0, cut.heardChars), 'One two three four');
});

test('the truncation may come before the buffer is cleared, and words after both', () => {
  const made = conversation();
  const cut = answers(made, 1, 'One two three ', 0);
  const type = 'conversation.item.truncated';
  made.receive({ type, item_id: 'item_1', content_index: 0, audio_end_ms: 1000 }, 1500);
  made.receive({ type: 'output_audio_buffer.cleared', response_id: 'resp_1' }, 1510);
  assert.equal(cut.heardMs, 1000);
  const delta = { type: 'response.output_audio_transcript.delta', response_id: 'resp_1' };
  made.receive({ ...delta, item_id: 'item_1', delta: 'four five six' }, 1520);
  assert.equal(cut.text.slice(0, cut.heardChars), 'One two three');
  const done = { type: 'response.output_audio_transcript.done', response_id: 'resp_1' };
  made.receive({ ...done, item_id: 'item_1', transcript: 'One two' }, 1530);
  assert.equal(cut.text, 'One two three four five six');
});

test('an answer that was cut before its first sound was not heard at all', () => {
  const made = conversation();
  const item = { id: 'item_1', type: 'message', role: 'assistant' };
  made.receive({ type: 'response.output_item.added', response_id: 'resp_1', item }, 0);
  made.receive({ type: 'response.done', response: { id: 'resp_1', status: 'cancelled' } }, 5);
  assert.deepEqual([made.entries[0].state, made.entries[0].heardMs], ['cut', 0]);
});

test('an answer in text only is said when the response is done', () => {
  const made = conversation();
  const delta = { type: 'response.output_text.delta', response_id: 'resp_1', item_id: 'item_1' };
  made.receive({ ...delta, delta: 'Written.' }, 0);
  const response = { id: 'resp_1', status: 'completed', output_modalities: ['text'] };
  made.receive({ type: 'response.done', response }, 5);
  assert.deepEqual([made.entries[0].state, made.entries[0].text], ['said', 'Written.']);
});

test('a tool is called, argued with and answered', () => {
  const made = conversation();
  const item = { id: 'item_t', type: 'function_call', name: 'weather', call_id: 'call_1', arguments: '' };
  made.receive({ type: 'response.output_item.added', response_id: 'resp_1', item }, 0);
  const type = 'response.function_call_arguments';
  made.receive({ type: `${type}.delta`, item_id: 'item_t', delta: '{"city"' }, 1);
  assert.equal(made.entries[0].arguments, '{"city"');
  const done = { item_id: 'item_t', call_id: 'call_1', name: 'weather', arguments: '{"city":"Oslo"}' };
  made.receive({ type: `${type}.done`, ...done }, 2);
  made.receive({ type: 'conversation.item.done', item: { ...item, arguments: '{"city":"Oslo"}' } }, 3);
  assert.equal(made.entries[0].state, 'called');
  const output = { id: 'item_o', type: 'function_call_output', call_id: 'call_1', output: 'rain' };
  made.receive({ type: 'conversation.item.added', item: output }, 4);
  assert.equal(made.entries.length, 1);
  const { name, arguments: args, output: result, state } = made.entries[0];
  assert.deepEqual([name, args, result, state], ['weather', '{"city":"Oslo"}', 'rain', 'done']);
});

test('keys in a row are one entry, and the line tells which it has heard', () => {
  const made = conversation();
  for (const key of '12#') made.press(key);
  made.receive({ type: 'input_audio_buffer.dtmf_event_received', event: '1' }, 0);
  made.receive({ type: 'input_audio_buffer.dtmf_event_received', event: '2' }, 1);
  assert.deepEqual(made.entries.map(({ keys, known }) => [keys, known]), [['12#', 2]]);
  const content = [{ type: 'input_text', text: 'DTMF 12#' }];
  const item = { id: 'item_k', type: 'message', role: 'user', content };
  made.receive({ type: 'conversation.item.added', item }, 2);
  made.press('7');
  assert.deepEqual(made.entries.map(({ kind }) => kind), ['keys', 'text', 'keys']);
});

test('failures are told in the conversation', () => {
  const made = conversation();
  made.receive({ type: 'error', error: { message: 'No.', code: 'no' } }, 0);
  const details = { status_details: { error: { message: 'overloaded' } } };
  made.receive({ type: 'response.done', response: { id: 'r', status: 'failed', ...details } }, 1);
  assert.deepEqual(made.entries.map(({ tone }) => tone), ['error', 'error']);
  assert.match(made.entries[1].text, /overloaded/);
});

test('an event that was too large to be sent is no fault of the call', () => {
  const made = conversation();
  const message = 'session.updated cannot be sent to you: larger than 65536 bytes.';
  made.receive({ type: 'error', error: { message, code: 'too_large' } }, 0);
  assert.deepEqual(made.entries, []);
});

test('every change can be seen by its revision', () => {
  const made = conversation();
  const entry = answers(made, 1, 'Hello', 0);
  const before = entry.revision;
  made.answered('resp_1', 300);
  assert.ok(entry.revision > before);
  assert.equal(entry.answeredMs, 300);
});

test('what is being said when the call ends is cut there, and nothing before it', () => {
  const made = conversation();
  const whole = answers(made, 1, TEXT, 0);
  made.receive({ type: 'output_audio_buffer.stopped', response_id: 'resp_1' }, 4900); // 10 a second
  const cut = answers(made, 2, TEXT, 6000);
  const item = { id: 'item_3', type: 'message', role: 'assistant' };
  made.receive({ type: 'response.output_item.added', response_id: 'resp_3', item }, 7000);
  made.receive({ type: 'input_audio_buffer.speech_started', item_id: 'item_u' }, 7900);
  made.end(8000);
  const [, , unheard, user] = made.entries;
  assert.equal(whole.state, 'said');
  assert.deepEqual([cut.state, cut.heardMs], ['cut', 2000]);
  assert.equal(cut.text.slice(0, cut.heardChars), 'One two three four');
  assert.deepEqual([unheard.state, unheard.heardMs], ['cut', 0]);
  assert.equal(user.state, 'said');
});

test('of an answer in two parts, the first was heard when the call ends in the second', () => {
  const made = conversation();
  const first = answers(made, 1, TEXT, 0);
  const delta = { type: 'response.output_audio_transcript.delta', response_id: 'resp_1' };
  made.receive({ ...delta, item_id: 'item_2', delta: TEXT }, 3000);
  made.end(5000);
  assert.deepEqual([first.state, made.entries[1].state], ['said', 'cut']);
});

test('a long call keeps the latest of it', () => {
  const made = conversation();
  for (let n = 0; n < 700; n += 1) made.note('info', String(n));
  assert.equal(made.entries.length, 500);
  assert.equal(made.entries.at(-1).text, '699');
});

test('what is not known changes nothing', () => {
  const made = conversation();
  made.receive({ type: 'gateway.call.answered' }, 0);
  made.receive({ type: 'output_audio_buffer.cleared', response_id: 'resp_x' }, 1);
  made.receive({ type: 'conversation.item.truncated', item_id: 'item_x', audio_end_ms: 5 }, 2);
  made.receive({ type: 'input_audio_buffer.dtmf_event_received', event: '1' }, 3);
  assert.deepEqual(made.entries, []);
});
