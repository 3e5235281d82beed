// What the caller may ask of the session. Left empty, it is the line's own (GATEWAY_SESSION).

import { byId } from './dom.js';
import { forGood } from './storage.js';

const KEPT = 'gateway.options';
const NAMES = ['instructions', 'voice', 'transcription'];

export class Options {
  constructor() {
    const known = kept();
    for (const name of NAMES) {
      if (typeof known[name] === 'string') field(name).value = known[name];
      field(name).addEventListener('change', () => {
        forGood.set(KEPT, JSON.stringify(Object.fromEntries(NAMES.map((one) => [one, value(one)]))));
      });
    }
  }

  // The session to place a call with, or null for the line's own.
  session() {
    const [instructions, voice] = [value('instructions'), value('voice')];
    if (!instructions && !voice) return null;
    const session = { type: 'realtime' };
    if (instructions) session.instructions = instructions;
    if (voice) session.audio = { output: { voice } };
    return session;
  }

  // What to add to the session that a call has got, so that both sides are shown as text; or null.
  // It comes as an update, because only then is it known whether the line's own session has it.
  transcriptionFor(session) {
    const model = value('transcription');
    if (!model || session.audio?.input?.transcription) return null;
    return { type: 'realtime', audio: { input: { transcription: { model } } } };
  }
}

// Nothing, where it cannot be read: another page of this address may have written it.
function kept() {
  try {
    return Object(JSON.parse(forGood.get(KEPT) || '{}'));
  } catch {
    return {};
  }
}

function field(name) {
  return byId(`option-${name}`);
}

function value(name) {
  return field(name).value.trim();
}
