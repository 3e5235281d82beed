// Draws a conversation as a list, and tells it to users of a screen reader as it goes.

import { announce, element, follower, icon, setText } from './dom.js';
import { span } from './format.js';

export class ConversationView {
  #list;
  #follow;
  #drawn = new Map(); // entry -> {node, revision, draw}
  #told = new WeakSet();

  constructor(place) {
    this.#follow = follower(place);
    this.#list = element('ol', { class: 'turn-list' });
    place.append(this.#list);
  }

  clear() {
    this.#drawn.clear();
    this.#list.replaceChildren();
  }

  // Draws what has changed since the last time. `entries` are all there are, in order.
  draw(entries) {
    const gone = new Set(this.#drawn.keys());
    for (const entry of entries) {
      gone.delete(entry);
      this.#update(entry);
    }
    for (const entry of gone) {
      this.#drawn.get(entry).node.remove();
      this.#drawn.delete(entry);
    }
    this.#follow();
  }

  #update(entry) {
    let drawn = this.#drawn.get(entry);
    if (drawn?.revision === entry.revision) return;
    if (!drawn) {
      const node = element('li', { class: `turn ${entry.kind}` });
      drawn = { node, draw: DRAWS[entry.kind](node, entry) };
      this.#drawn.set(entry, drawn);
      this.#list.append(node);
    }
    drawn.revision = entry.revision;
    drawn.draw(entry);
    this.#tell(entry);
  }

  // A turn is told once, when it is whole.
  #tell(entry) {
    const words = spoken(entry);
    if (!words || this.#told.has(entry)) return;
    this.#told.add(entry);
    announce(words);
  }
}

// Each makes the content of a list item, and returns what draws an entry into it.
const DRAWS = {
  user: (node) => turn(node, 'You', (entry) => USER_STATES[entry.state]),
  agent: (node) => turn(node, 'Agent', agentState),
  text: (node, { role }) => turn(node, role === 'system' ? 'System text' : 'Text to the agent', () => ''),
  tool,
  keys,
  note,
};

const USER_STATES = {
  speaking: 'speaking',
  transcribing: 'being transcribed',
  said: '',
  failed: 'could not be transcribed',
};

function agentState({ state, answeredMs, heardMs }) {
  const answered = answeredMs === undefined ? '' : `answered in ${span(answeredMs)}`;
  if (state !== 'cut') return answered;
  const interrupted = heardMs ? 'interrupted' : 'interrupted before a sound';
  return answered ? `${answered}, ${interrupted}` : interrupted;
}

function turn(node, who, stateOf) {
  const state = element('span', { class: 'state' });
  const heard = element('span');
  const unheard = element('s', { class: 'unheard' });
  const mark = element('span', { class: 'cut-mark', title: 'Here the voice stopped; the word is a guess' });
  const text = element('p', { class: 'words' }, heard);
  node.append(element('div', { class: 'who' }, element('b', { text: who }), state), text);
  return (entry) => {
    const cut = entry.state === 'cut';
    const end = cut ? entry.heardChars : entry.text.length;
    node.dataset.state = entry.state ?? '';
    setText(state, stateOf(entry));
    setText(heard, entry.text.slice(0, end) || (entry.text ? '' : PENDING[entry.state] ?? ''));
    setText(unheard, cut ? entry.text.slice(end) : '');
    if (!cut) text.replaceChildren(heard);
    else if (!mark.isConnected) text.replaceChildren(heard, ' ', mark, unheard);
    setText(mark, `stopped at ${span(entry.heardMs ?? 0)}`);
    text.hidden = !heard.textContent && !cut;
  };
}

const PENDING = { speaking: '…', transcribing: '…', waiting: '…', said: '(no transcript)' };

function tool(node) {
  const name = element('code');
  const state = element('span', { class: 'state' });
  const args = element('pre');
  const output = element('pre');
  const given = labelled('Arguments', args);
  const returned = labelled('Result', output);
  const who = element('div', { class: 'who' }, icon('tool'), element('b', { text: 'Tool ' }, name), state);
  node.append(who, given, returned);
  return (entry) => {
    node.dataset.state = entry.state;
    setText(name, entry.name ?? '');
    setText(state, { called: 'waits for its result', done: '', failed: 'failed' }[entry.state]);
    setText(args, readable(entry.arguments));
    setText(output, readable(entry.output ?? ''));
    given.hidden = !args.textContent;
    returned.hidden = !output.textContent;
  };
}

function labelled(label, content) {
  return element('div', { class: 'labelled' }, element('span', { text: label }), content);
}

// JSON on one line if it is short.
function readable(text) {
  try {
    const value = JSON.parse(text);
    const short = JSON.stringify(value);
    return short.length < 60 ? short : JSON.stringify(value, null, 2);
  } catch {
    return text;
  }
}

function keys(node) {
  const pressed = element('span', { class: 'pressed' });
  node.append(icon('keypad'), element('span', { class: 'visually-hidden', text: 'Keys: ' }), pressed);
  return (entry) => {
    pressed.replaceChildren(
      ...[...entry.keys].map((key, index) =>
        element('kbd', { text: key, class: index < entry.known ? 'known' : null })),
    );
    node.title = entry.known === entry.keys.length ? 'The line has heard them' : '';
  };
}

function note(node, { tone }) {
  const text = element('span');
  node.dataset.tone = tone;
  node.append(text);
  return (entry) => setText(text, entry.text);
}

// What a screen reader is told of an entry, once there is something whole to tell.
function spoken({ kind, state, text, name, tone }) {
  if (kind === 'user' && state === 'said' && text) return `You: ${text}`;
  if (kind === 'agent' && state === 'said' && text) return `Agent: ${text}`;
  if (kind === 'agent' && state === 'cut') return 'The agent was interrupted.';
  if (kind === 'tool' && state !== 'called') return `Tool ${name} ${state}.`;
  return kind === 'note' && tone === 'error' ? text : null;
}
