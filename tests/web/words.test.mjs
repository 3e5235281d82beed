import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as words from '../../gateway/web/words.js';

const { callTrouble, endReason, iceTrouble, insecure, keyWords, microphoneTrouble } = words;

const answer = (status, code, message = 'Why.', retryAfter = null) =>
  ({ status, code, message, retryAfter });

test('each way to be without a microphone has its own words, and leaves a call by ear', () => {
  const names = ['NotAllowedError', 'NotFoundError', 'NotReadableError', 'TypeError'];
  const told = names.map((name) => microphoneTrouble({ name, message: '' }));
  for (const message of ['Permission denied by system', 'Permission dismissed']) {
    told.push(microphoneTrouble({ name: 'NotAllowedError', message }));
  }
  assert.equal(new Set(told.map(({ title }) => title)).size, 6);
  assert.deepEqual(new Set(told.map(({ offer }) => offer)), new Set(['Call without a microphone']));
});

test('who only closed the question needs no settings', () => {
  const { hints } = microphoneTrouble({ name: 'NotAllowedError', message: 'Permission dismissed' });
  assert.match(hints.join(' '), /^Call again, and say yes/);
  assert.doesNotMatch(hints.join(' '), /settings/);
});

test('plain http from elsewhere: both ways out, with this address in them', () => {
  const place = { protocol: 'http:', hostname: 'gw.example', host: 'gw.example:8080', port: '8080' };
  const { hints } = insecure(place);
  assert.match(hints[0], /GATEWAY_HTTP_TLS_CERT.*https:\/\/gw\.example:8080\//);
  assert.match(hints[1], /ssh -L 8080:127\.0\.0\.1:8080 gw\.example.*http:\/\/localhost:8080\//);
});

test('what the gateway answers is quoted, and what to do about it said', () => {
  const cases = [
    [answer(429, 'full', 'Why.', 10), 'All lines are busy', /in 10 s/],
    [answer(503, 'full'), 'All lines are busy', /GATEWAY_CALLS_MAX/],
    [answer(429, 'draining'), 'The gateway is going down', /stopped or restarted/],
    [answer(503, 'no_media_port'), 'No media port is free', /GATEWAY_RTP_PORT_MIN/],
    [answer(503, 'backend_unavailable'), 'The voice agent cannot be reached', /GATEWAY_REALTIME_URL/],
    [answer(400, 'invalid_sdp'), 'The offer cannot be used', /GATEWAY_WEBRTC_CODECS/],
    [answer(503, 'something_new'), 'The line takes no calls now', /in a moment/],
    [answer(500, 'server_error'), 'The call was not taken (500)', /^$/],
  ];
  for (const [error, title, hint] of cases) {
    const told = callTrouble(error);
    assert.equal(told.title, title);
    assert.match(told.text, /Why\./);
    assert.match(told.hints.join(' '), hint);
  }
  assert.match(callTrouble(answer(0, 'unreachable')).title, /does not answer/);
});

test('a call that ended before its answer is told by its reason', () => {
  const told = (reason) => callTrouble(answer(503, reason, `The call was not made: ${reason}.`));
  const timeout = told('ring_timeout');
  assert.equal(timeout.title, 'The call ended before it began');
  assert.match(timeout.text, /nobody took the call/);
  assert.match(told('hangup').text, /hung up on this side/);
  assert.equal(told('drain').title, 'The gateway is going down');
  assert.equal(told('backend_unavailable').title, 'The voice agent cannot be reached');
});

test('a gateway without WebRTC says which setting that is, and blames no browser', () => {
  const message = 'The SDP offer cannot be used. WebRTC is off here.';
  const { title, hints } = callTrouble(answer(400, 'webrtc_off', message));
  assert.match(title, /no calls from browsers/);
  assert.match(hints.join(' '), /^GATEWAY_WEBRTC_CODECS is off/);
});

test('the first request: only who gets no answer at all is told to look for the gateway', () => {
  assert.equal(words.startTrouble(answer(0, 'unreachable')).title, 'The gateway does not answer');
  const proxy = words.startTrouble(answer(502, null, 'The answer was HTTP 502.'));
  assert.match(proxy.title, /\(502\)/);
  assert.equal(proxy.text, 'The answer was HTTP 502.'); // the gateway has not said it
  assert.doesNotMatch(proxy.hints.join(' '), /make run/);
  assert.match(words.startTrouble(answer(500, 'server_error')).text, /gateway says: Why\./);
});

test('no way for the audio names ports and address; a lost connection does not', () => {
  const never = iceTrouble(false).hints.join(' ');
  assert.match(never, /GATEWAY_RTP_PORT_MIN/);
  assert.match(never, /GATEWAY_WEBRTC_ADVERTISED_HOST/);
  assert.match(never, /GATEWAY_WEBRTC_ICE_SERVERS/);
  assert.doesNotMatch(iceTrouble(true).hints.join(' '), /GATEWAY/);
});

test('a key that is asked for, wrong, or of another kind', () => {
  assert.match(keyWords({ status: 401 }, false), /asks for one of its keys/);
  assert.match(keyWords({ status: 401 }, true), /not accepted/);
  const stranger = { status: 403, code: 'origin_not_allowed', message: 'Only this machine.' };
  assert.match(keyWords(stranger, false), /^Only this machine\..*http:\/\/localhost/);
  assert.match(keyWords({ status: 403, message: 'A client secret opens calls only.' }, true), /^A client secret/);
});

test('reasons of an end, known and new', () => {
  assert.equal(endReason('remote_bye'), 'the other side hung up');
  assert.equal(endReason('something_new'), 'something new');
  assert.equal(endReason(null), 'over');
});
