// Reads server events, one JSON object a line, and says what @openai/agents-realtime would hold
// against them: one line a fault, and at the end how many events there were.

import { createInterface } from 'node:readline';

import { OpenAIRealtimeSIP } from '@openai/agents-realtime';
// Not exported by the package; found by its place.
import { realtimeServerEventSchema } from './node_modules/@openai/agents-realtime/dist/openaiRealtimeEvents.mjs';

// Server events of the API for which the package has no type of its own. They reach only those who
// listen for `*`, which is all that a server can have.
const WITHOUT_A_TYPE = new Set([
  'conversation.item.created',
  'conversation.item.input_audio_transcription.segment',
  'input_audio_buffer.dtmf_event_received',
  'input_audio_buffer.timeout_triggered',
  'response.mcp_call.failed',
]);

class Deaf extends OpenAIRealtimeSIP {
  sendEvent() {}
}

const transport = new Deaf();
transport.on('error', () => {}); // an `error` event is told as one; that is no fault
let count = 0;

function tell(event, reason) {
  console.log(`agents-realtime: ${event.type}: ${reason}; the event: ${JSON.stringify(event).slice(0, 400)}`);
}

for await (const line of createInterface({ input: process.stdin })) {
  const event = JSON.parse(line);
  count += 1;
  const parsed = realtimeServerEventSchema.safeParse(event);
  if (!parsed.success && !WITHOUT_A_TYPE.has(event.type)) {
    const issues = parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    tell(event, `untyped: ${issues.join('; ')}`);
  }
  try {
    transport._onMessage({ data: line });
  } catch (error) {
    tell(event, `the client throws: ${error.message.replaceAll('\n', ' ')}`);
  }
}
console.log(`${count} events`);
