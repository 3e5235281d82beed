// `@openai/agents` as an application of the Calls API: a session on the SIP transport, at the
// test's command. Calls are accepted with `openai`, as the package's own documents do it.

import { RealtimeAgent, RealtimeSession, OpenAIRealtimeSIP, tool } from '@openai/agents/realtime';
import OpenAI from 'openai';
import { z } from 'zod';

import { say, serve } from './commands.mjs';

const client = new OpenAI();

const weather = tool({
  name: 'get_weather',
  description: 'The weather of a city.',
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    say({ tool: city });
    return 'clear';
  },
});
const agent = new RealtimeAgent({
  name: 'Agent',
  instructions: 'Tell the weather.',
  tools: [weather],
});
const options = { model: 'gpt-realtime-2.1', tracingDisabled: true };

let session;

await serve({
  unwrap: ({ body, headers }) => client.webhooks.unwrap(body, headers),
  accept: async ({ call_id }) => {
    const initial = await OpenAIRealtimeSIP.buildInitialConfig(agent, options);
    await client.realtime.calls.accept(call_id, initial);
  },
  connect: async ({ call_id }) => {
    const transport = new OpenAIRealtimeSIP();
    session = new RealtimeSession(agent, { ...options, transport });
    transport.on('*', (event) => say({ event }));
    transport.on('connection_change', (status) => say({ connection: status }));
    session.on('history_updated', (history) => say({ history }));
    session.on('agent_tool_end', (_context, _agent, { name }, result) =>
      say({ tool_end: name, result }),
    );
    session.on('error', ({ error }) => say({ session_error: error }));
    const url = `${process.env.OPENAI_BASE_URL.replace('https', 'wss')}/realtime?call_id=${call_id}`;
    await session.connect({ apiKey: process.env.OPENAI_API_KEY, callId: call_id, url });
  },
  say: ({ text }) => session.sendMessage(text),
  respond: ({ response }) => session.transport.requestResponse(response),
  interrupt: () => session.interrupt(),
  close: () => session.close(),
});
