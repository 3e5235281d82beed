// `@openai/agents-realtime` over WebRTC, at the test's command; in Node and on a page.

import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';

import { person } from './caller.mjs';
import { say } from './commands.mjs';

const weather = tool({
  name: 'get_weather',
  description: 'The weather of a city.',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
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

let session;

export const commands = {
  ...person(() => session.transport.connectionState.peerConnection),
  connect: async ({ url, key }) => {
    const transport = new OpenAIRealtimeWebRTC({ baseUrl: url });
    session = new RealtimeSession(agent, {
      model: 'gpt-realtime-2.1',
      tracingDisabled: true,
      transport,
    });
    transport.on('*', (event) => say({ event }));
    transport.on('connection_change', (state) => say({ connection: state }));
    session.on('agent_tool_end', (_context, _agent, { name }, result) =>
      say({ tool_end: name, output: result }),
    );
    session.on('error', ({ error }) => say({ session_error: error }));
    await session.connect({ apiKey: key });
    return transport.callId;
  },
  say: ({ text }) => session.sendMessage(text),
  send: ({ event }) => session.transport.sendEvent(event),
  interrupt: () => session.interrupt(),
  close: () => session.close(),
};
