// Reads commands from stdin, one JSON object a line, and carries them out in order. Answers and
// whatever happens meanwhile go to stdout, one JSON object a line.

import { createInterface } from 'node:readline';

export function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

// What the test knows of an error: the client's class, and what the gateway had said.
function told(error) {
  const { status, code, param, type, message } = error;
  return { name: error.constructor.name, status, code, param, type, message };
}

// `commands`: an async function for each name; it is given the whole command.
export async function serve(commands) {
  say({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    try {
      say({ result: (await commands[command.do](command)) ?? null });
    } catch (error) {
      say({ error: told(error) });
    }
  }
  process.exit(0);
}
