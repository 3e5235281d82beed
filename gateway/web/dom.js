// The few things that every part of the page does with the document.

const SVG = 'http://www.w3.org/2000/svg';
const NEAR_END_PX = 60;
const ANNOUNCED_MS = 5000; // what is gone before its turn to be read is not read

export const byId = (id) => document.getElementById(id);

// An element with properties (`class`, `text`, `on…` and attributes) and children.
export function element(tag, properties = {}, ...children) {
  return build(document.createElement(tag), properties, children);
}

export function svg(tag, attributes = {}, ...children) {
  return build(document.createElementNS(SVG, tag), attributes, children);
}

function build(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'text') node.textContent = value;
    else if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// One of the symbols at the top of index.html. It says nothing by itself: a name stands beside it.
export function icon(name) {
  const use = svg('use', { href: `#icon-${name}` });
  return svg('svg', { class: 'icon', 'aria-hidden': 'true', focusable: 'false' }, use);
}

// Writes a text only when it is another one, so that nothing is laid out or announced for nothing.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, visible) {
  if (node.hidden === visible) node.hidden = !visible;
}

// Keeps a list at its end while the reader is there; the result is called after each change.
export function follower(place) {
  let follows = true;
  const follow = () => {
    if (follows) place.scrollTop = place.scrollHeight;
  };
  place.addEventListener('scroll', () => {
    follows = place.scrollHeight - place.scrollTop - place.clientHeight < NEAR_END_PX;
  });
  new ResizeObserver(follow).observe(place);
  return follow;
}

// Breaks a long name only between its words.
export function breakable(name) {
  const words = name.match(/[^._]*[._]|[^._]+/g) ?? [];
  return words.flatMap((word) => [word, element('wbr')]);
}

// Tells users of a screen reader, when it has nothing more urgent to say.
export function announce(text) {
  const line = element('p', { text });
  byId('announcer').append(line);
  setTimeout(() => line.remove(), ANNOUNCED_MS);
}

// False when the browser does not let us.
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // the clipboard's own interface wants https, as the microphone does
  }
}

function copyBySelection(text) {
  const field = element('textarea', { class: 'visually-hidden', 'aria-hidden': 'true' });
  const focused = document.activeElement;
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  focused?.focus();
  return done;
}

// A button that copies: says for a moment that it did.
export function copies(button, text) {
  const label = button.querySelector('.label');
  const before = label.textContent;
  let timer = 0;
  button.addEventListener('click', async () => {
    const done = await copy(text());
    setText(label, done ? 'Copied' : 'Not allowed');
    announce(done ? 'Copied.' : 'The browser did not let this page copy.');
    clearTimeout(timer);
    timer = setTimeout(() => setText(label, before), 1500);
  });
}
