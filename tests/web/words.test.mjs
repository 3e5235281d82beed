import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callTrouble, endReason, iceTrouble, insecure, keyWords, microphoneTrouble } from '../../gateway/web/words.js';

const answer = (status, code, message = 'Why.', retryAfter = null) =>
  ({ status, code, message, retryAfter });

test('each way to be without a microphone has its own words, and leaves a call by ear', () => {
  const names = ['NotAllowedError', 'NotFoundError', 'NotReadableError', 'TypeError'];
  const told = names.map((name) => microphoneTrouble({ name, message: '' }));
  const system = microphoneTrouble({ name: 'NotAllowedError', message: 'Permission denied by system' });
  const titles = new Set([...told, system].map(({ title }) => title));
  assert.equal(titles.size, 5);
  assert.ok([...told, system].every(({ listen }) => listen));
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
    [answer(503, 'no_media_port'), 'All lines are busy', /GATEWAY_RTP_PORT_MIN/],
    [answer(503, 'backend_unavailable'), 'The voice agent cannot be reached', /GATEWAY_REALTIME_URL/],
    [answer(400, 'invalid_sdp'), 'The offer cannot be used', /GATEWAY_WEBRTC_CODECS/],
    [answer(415, 'webrtc_unavailable'), 'No calls from browsers', /^$/],
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
