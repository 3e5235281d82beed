import assert from 'node:assert/strict';
import { test } from 'node:test';
import { clock, median, percent, span, spokenTime } from '../../gateway/web/format.js';
import { LevelHistory, Timeline } from '../../gateway/web/timeline.js';

const started = { type: 'input_audio_buffer.speech_started', item_id: 'item_u' };
const stopped = { type: 'input_audio_buffer.speech_stopped', item_id: 'item_u' };

function timeline() {
  const made = new Timeline();
  made.begin(1000);
  return made;
}

function buffer(what, response_id = 'resp_1') {
  return { type: `output_audio_buffer.${what}`, response_id };
}

test('the response time is from the end of the turn to the first sound after it', () => {
  const made = timeline();
  assert.equal(made.receive(buffer('started'), 1500), null); // the greeting answers nobody
  made.receive(buffer('stopped'), 2500);
  made.receive(started, 3000);
  made.receive(stopped, 4000);
  assert.deepEqual(made.receive(buffer('started', 'resp_2'), 4420), {
    from: 4000, to: 4420, ms: 420, id: 'resp_2',
  });
  made.receive(buffer('stopped', 'resp_2'), 6000);
  assert.equal(made.receive(buffer('started', 'resp_3'), 7000), null); // one turn, one answer
  assert.deepEqual(made.responseMs, [420]);
});

test('an answer to a key is no answer to what was said before it', () => {
  const made = timeline();
  made.receive(started, 1100);
  made.receive(stopped, 1500);
  made.press('1', 9000);
  assert.equal(made.receive(buffer('started'), 9500), null);
});

test('an interruption ends the span, and tells how much was heard', () => {
  const made = timeline();
  made.receive(buffer('started'), 2000);
  made.receive(started, 4100);
  made.receive(buffer('cleared'), 4105);
  made.receive({ type: 'conversation.item.truncated', item_id: 'i', audio_end_ms: 2080 }, 4110);
  const [cut] = made.interruptions;
  assert.deepEqual([cut.from, cut.to, cut.heardMs], [2000, 4105, 2080]);
  assert.match(made.summary(5000), /Interrupted once, the last time after 2\.08 s of voice\./);
  made.receive({ type: 'conversation.item.truncated', item_id: 'j', audio_end_ms: 1 }, 4120);
  assert.equal(cut.heardMs, 2080); // of another part of the same answer
});

test('what goes on when the call ends, ends with it', () => {
  const made = timeline();
  made.receive(started, 2000);
  made.receive(buffer('started'), 2500);
  made.end(3000);
  assert.deepEqual([made.user[0].to, made.agent[0].to], [3000, 3000]);
  assert.match(made.summary(99_999), /^2 seconds of call\./);
});

test('all of it can be read, in order', () => {
  const made = timeline();
  made.receive(buffer('started'), 1500);
  made.receive(buffer('cleared'), 2000);
  made.receive(started, 1990);
  made.press('5', 2100);
  made.receive(stopped, 3000);
  made.receive(buffer('started', 'resp_2'), 3300);
  assert.deepEqual(made.rows().map(({ what }) => what), [
    'The agent was interrupted; the voice stopped after 500 ms',
    'You spoke for 1.01 s',
    'Key 5',
    'The agent spoke (goes on)',
    'Response after 300 ms',
  ]);
  assert.equal(new Timeline().summary(5), 'No call yet.');
});

test('levels keep the loudest of each moment, for an hour', () => {
  const levels = new LevelHistory();
  levels.begin(1000);
  levels.add(0.2, 1010);
  levels.add(1, 1020);
  levels.add(0.4, 1060);
  levels.add(0.6, 1000 + 600_000); // grows
  levels.add(1, 1000 + 2 * 3_600_000); // is let go
  assert.equal(levels.peak(1000, 1050), 1);
  assert.equal(levels.peak(1050, 1100), 102 / 255);
  assert.equal(levels.peak(1100, 600_000), 0);
  assert.equal(levels.peak(-5000, 9_999_999), 1);
  assert.equal(levels.peak(7_000_000, 8_000_000), 0);
});

test('numbers as people read them', () => {
  assert.deepEqual([clock(0), clock(65.9), clock(3725)], ['0:00', '1:05', '1:02:05']);
  assert.deepEqual([span(420.4), span(1620)], ['420 ms', '1.62 s']);
  assert.deepEqual([percent(0), percent(0.004), percent(0.052), percent(0.0999)], [
    '0 %', '0.4 %', '5.2 %', '10 %',
  ]);
  assert.deepEqual([spokenTime(1), spokenTime(61)], ['1 second', '1 minute 1 second']);
  assert.deepEqual([median([]), median([3, 1, 2]), median([1, 2, 3, 4])], [null, 2, 2.5]);
});
