// Answers the phone of Brightwater Bicycles: finds orders, transfers callers, hangs up.
//
//     npm install openai ws
//
// OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_WEBHOOK_SECRET are read by the client itself; README.md
// tells what they are here. PORT is where the webhook listens.

import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';

const client = new OpenAI();

const orders = {
  1042: { state: 'on its way', day: 'Thursday' },
  1043: { state: 'in the workshop', day: 'Monday' },
};
const instructions =
  'You answer the phone of a bicycle shop. Be brief. Say goodbye before you hang up.';
const tools = [
  {
    type: 'function',
    name: 'find_order',
    description: 'The state of an order, and the day on which it is expected.',
    parameters: {
      type: 'object',
      properties: { number: { type: 'string', description: 'Digits.' } },
      required: ['number'],
    },
  },
  {
    type: 'function',
    name: 'transfer',
    description: 'Connect the caller with somebody else. Tell them first that you do.',
    parameters: {
      type: 'object',
      properties: { target: { type: 'string', description: 'A tel: or sip: URI.' } },
      required: ['target'],
    },
  },
  {
    type: 'function',
    name: 'hang_up',
    description: 'End the call, after goodbye was said.',
    parameters: { type: 'object', properties: {} },
  },
];

// A promise with its key, so that events can open what somebody waits for.
function latch() {
  let open;
  const opened = new Promise((resolve) => (open = resolve));
  return { open, opened };
}

// Stays with a call that was accepted; resolves when the caller is gone.
async function run(callId) {
  const beside = new OpenAIRealtimeWS(
    {
      callID: callId,
      // `extensions` is the gateway's own: with it the outcome of a transfer is told.
      buildRealtimeURL: ({ baseURL }) => {
        const place = baseURL.replace(/^http/, 'ws');
        return new URL(`${place}/realtime?call_id=${callId}&extensions=events`);
      },
    },
    client,
  );
  const played = new Map(); // latches, by response
  let transferred = latch();

  const playedOut = (responseId) => {
    if (!played.has(responseId)) played.set(responseId, latch());
    return played.get(responseId);
  };
  const functions = {
    find_order: async ({ number }) => {
      if (number === undefined) throw new TypeError('number is missing');
      return Object.hasOwn(orders, number) ? JSON.stringify(orders[number]) : 'not found';
    },
    transfer: async ({ target }) => {
      transferred = latch();
      await client.realtime.calls.refer(callId, { target_uri: target });
      return transferred.opened; // only when the caller is back
    },
  };
  // What the model is told. It may call what there is not, or with what does not fit.
  async function result(name, given) {
    if (!Object.hasOwn(functions, name)) return `failed: there is no function ${name}`;
    try {
      return await functions[name](JSON.parse(given));
    } catch (error) {
      return `failed: ${error.message}`;
    }
  }
  const tell = (call_id, output) => {
    const item = { type: 'function_call_output', call_id, output };
    beside.send({ type: 'conversation.item.create', item });
  };

  // Does what the model calls in this response, one after the other.
  async function use({ id, status, output = [] }) {
    const called = output.filter(({ type }) => type === 'function_call');
    if (status !== 'completed' || !called.length) return;
    // What was said comes first: the model is faster than its voice.
    if (output.some(({ type }) => type === 'message'))
      await Promise.race([playedOut(id).opened, sleep(60_000, undefined, { ref: false })]);
    for (const { name, arguments: given, call_id } of called) {
      console.log(callId, name, given);
      if (name === 'hang_up') {
        tell(call_id, 'done');
        await client.realtime.calls.hangup(callId);
        return;
      }
      const told = await result(name, given);
      console.log(callId, `${name}: ${told}`);
      tell(call_id, told);
    }
    beside.send({ type: 'response.create' });
  }

  beside.on('session.created', () => beside.send({ type: 'response.create' })); // it speaks first
  beside.on('output_audio_buffer.stopped', ({ response_id }) => playedOut(response_id).open());
  beside.on('output_audio_buffer.cleared', ({ response_id }) => playedOut(response_id).open());
  beside.on('gateway.transfer.ended', ({ result }) => transferred.open(result));
  beside.on('error', ({ message }) => console.log(callId, 'error:', message));
  await new Promise((resolve, reject) => {
    beside.on('response.done', ({ response }) => use(response).catch(reject));
    beside.socket.on('close', (code) =>
      code === 1000 || code === 1001 ? resolve() : reject(new Error(`left alone: ${code}`)),
    );
  });
}

async function talk(callId) {
  try {
    await client.realtime.calls.accept(callId, { type: 'realtime', instructions, tools });
    console.log(callId, 'answered');
    await run(callId);
  } catch (error) {
    console.log(callId, 'hanging up:', error.message);
    await client.realtime.calls.hangup(callId).catch(() => {});
  }
  console.log(callId, 'over');
}

// The webhook: it is only heard when it is signed with our secret.
createServer(async (request, response) => {
  try {
    const event = await client.webhooks.unwrap(await text(request), request.headers);
    response.end();
    if (event.type === 'realtime.call.incoming') talk(event.data.call_id);
  } catch {
    response.writeHead(400).end();
  }
}).listen(process.env.PORT ?? 9000, '127.0.0.1', () => console.log('listening'));
