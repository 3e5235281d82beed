import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Api } from '../../gateway/web/api.js';

function answering(status, body, headers = {}) {
  globalThis.fetch = async () => new Response(body, { status, headers });
  return new Api();
}

const HTML = '<html><body>Bad gateway</body></html>';

test('why no call is taken, also when a proxy answers in place of the gateway', async () => {
  assert.equal(await answering(200, '{"status": "ready"}').refusal(), null);
  assert.equal(await answering(503, '{"reason": "draining"}').refusal(), 'draining');
  assert.equal(await answering(503, HTML).refusal(), 'unavailable');
  assert.equal(await answering(503, 'null').refusal(), 'unavailable');
});

test('an answer that is not the gateway’s is an error in words, whatever its status', async () => {
  for (const status of [200, 502]) {
    await assert.rejects(answering(status, HTML).softphone(), (error) => {
      assert.deepEqual([error.name, error.status, error.code], ['Error', status, null]);
      assert.match(error.message, /^The answer (is not the gateway’s|was HTTP 502)\.$/);
      return true;
    });
  }
});

test('an error of the gateway keeps its code and when to come again', async () => {
  const body = JSON.stringify({ error: { code: 'full', message: 'No room.' } });
  await assert.rejects(answering(429, body, { 'Retry-After': '10' }).call('v=0', null), {
    status: 429, code: 'full', message: 'No room.', retryAfter: 10,
  });
});
