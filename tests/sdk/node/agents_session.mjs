// `@openai/agents-realtime` over a WebSocket of its own, at the test's command.

import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { z } from 'zod';

import { say, serve } from './commands.mjs';

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
let heard = 0;

await serve({
  connect: async ({ config }) => {
    const transport = new OpenAIRealtimeWebSocket();
    session = new RealtimeSession(agent, { ...options, transport, config });
    transport.on('*', (event) => say({ event }));
    session.on('audio', ({ data }) => (heard += data.byteLength));
    session.on('audio_interrupted', () => say({ interrupted: heard }));
    session.on('history_updated', (history) => say({ history }));
    session.on('agent_tool_end', (_context, _agent, { name }, result) =>
      say({ tool_end: name, output: result }),
    );
    session.on('error', ({ error }) => say({ session_error: error }));
    const url = `${process.env.OPENAI_BASE_URL.replace('https', 'wss')}/realtime?model=${options.model}`;
    await session.connect({ apiKey: process.env.OPENAI_API_KEY, url });
  },
  say: ({ text }) => session.sendMessage(text),
  speak: ({ pieces }) => {
    for (const audio of pieces) {
      const bytes = Buffer.from(audio, 'base64');
      session.sendAudio(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    }
  },
  commit: () => session.transport.sendEvent({ type: 'input_audio_buffer.commit' }),
  respond: ({ response }) => session.transport.requestResponse(response),
  interrupt: () => session.interrupt(),
  heard: () => heard,
  close: () => session.close(),
});
