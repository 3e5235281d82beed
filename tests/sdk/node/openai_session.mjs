// The `openai` package for Node in a session of its own, at the test's command.

import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { OpenAIRealtimeWS as BetaRealtimeWS } from 'openai/beta/realtime/ws';

import { say, serve } from './commands.mjs';

const client = new OpenAI(); // key and base URL come from the environment
let session;

function open(opened, name) {
  session = opened;
  opened.on('event', (event) => say({ [name]: event }));
  opened.on('error', () => {}); // an `error` event is an event too
  opened.socket.on('close', (code) => say({ closed: code }));
  return new Promise((resolve, reject) => {
    opened.socket.once('open', resolve);
    opened.socket.once('error', reject);
  });
}

await serve({
  open: ({ target }) => open(new OpenAIRealtimeWS(target, client), 'event'),
  open_beta: ({ model }) => open(new BetaRealtimeWS({ model }, client), 'beta'),
  send: ({ event }) => session.send(event),
  append: ({ pieces }) => {
    for (const audio of pieces) session.send({ type: 'input_audio_buffer.append', audio });
  },
  close: () => session.close(),
});
