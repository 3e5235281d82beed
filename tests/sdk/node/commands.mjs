// Carries out commands in order. Answers and whatever happens meanwhile are said, one JSON object a
// message. In Node commands come from stdin and what is said goes to stdout, a line each; a page in
// a browser has `tell`, which the test has put there.

export function say(message) {
  const text = JSON.stringify(message);
  if (globalThis.tell) globalThis.tell(text);
  else process.stdout.write(`${text}\n`);
}

// What the test knows of an error: the client's class, and what the gateway had said.
function told(error) {
  const { status, code, param, type, message, phase } = error;
  const cause = error.cause instanceof Error ? told(error.cause) : undefined;
  return { name: error.constructor.name, status, code, param, type, message, phase, cause };
}

// `commands`: a function for each name, async or not; it is given the whole command.
export async function perform(commands, command) {
  try {
    say({ result: (await commands[command.do](command)) ?? null });
  } catch (error) {
    say({ error: told(error) });
  }
}

export async function serve(commands) {
  const { createInterface } = await import('node:readline');
  say({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    await perform(commands, JSON.parse(line));
  }
  process.exit(0);
}
