// The `openai` package for Node as an application of the Calls API, at the test's command.

import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

import { say, serve } from './commands.mjs';

const client = new OpenAI(); // key, base URL and webhook secret come from the environment
const calls = client.realtime.calls;
let sideband;

async function attach(target) {
  const opened = new OpenAIRealtimeWS(target, client);
  opened.on('event', (event) => say({ event }));
  opened.on('error', () => {}); // an `error` event is an event too
  opened.socket.on('close', (code) => say({ closed: code }));
  await new Promise((resolve, reject) => {
    opened.socket.once('open', resolve);
    opened.socket.once('error', reject);
  });
  return opened;
}

await serve({
  unwrap: ({ body, headers }) => client.webhooks.unwrap(body, headers),
  accept: ({ call_id, session }) => calls.accept(call_id, session),
  reject: ({ call_id, body }) => calls.reject(call_id, body),
  refer: ({ call_id, target_uri }) => calls.refer(call_id, { target_uri }),
  hangup: ({ call_id }) => calls.hangup(call_id),
  secret: ({ body }) => client.realtime.clientSecrets.create(body),
  attach: async ({ call_id }) => {
    sideband = await attach({ callID: call_id });
  },
  open: async ({ model, key }) => {
    const other = new OpenAI({ apiKey: key });
    const session = new OpenAIRealtimeWS({ model }, other);
    await new Promise((resolve, reject) => {
      session.on('session.created', resolve);
      session.on('error', reject);
    });
    session.close();
  },
  send: ({ event }) => sideband.send(event),
  detach: () => sideband.close(),
});
