// A page in headless Chromium that does what a test tells it, over stdin and stdout as in
// tests/sdk/node/commands.mjs. Its microphone is a stream that is silent until `say`.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { say, serve } from '../sdk/node/commands.mjs';

const require = createRequire(new URL('../sdk/node/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const FLAGS = [
  '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--use-fake-ui-for-media-stream',
  '--use-fake-device-for-media-stream', '--autoplay-policy=no-user-gesture-required',
];

// In the page, before its own scripts: the microphone of the test.
function microphone() {
  let output = null;
  const context = () => {
    if (output) return output.context;
    output = new AudioContext().createMediaStreamDestination();
    const quiet = output.context.createConstantSource(); // or else nothing is sent at all
    quiet.offset.value = 0;
    quiet.connect(output);
    quiet.start();
    return output.context;
  };
  window.testPage = {
    refusal: null,
    // Plays 16-bit samples at 8 kHz, given in base64, into the microphone.
    say(base64) {
      const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
      const samples = Float32Array.from(new Int16Array(bytes.buffer), (one) => one / 32768);
      const buffer = context().createBuffer(1, samples.length, 8000);
      buffer.copyToChannel(samples, 0);
      const source = context().createBufferSource();
      source.buffer = buffer;
      source.connect(output);
      source.start();
      return new Promise((resolve) => source.addEventListener('ended', () => resolve()));
    },
  };
  if (!navigator.mediaDevices) return;
  navigator.mediaDevices.getUserMedia = async () => {
    if (window.testPage.refusal) throw new DOMException('refused', window.testPage.refusal);
    await context().resume();
    // A stream of its own for each who asks: closing one must not silence the next.
    return new MediaStream(output.stream.getAudioTracks().map((track) => track.clone()));
  };
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: FLAGS,
  chromiumSandbox: false,
});
let context;
let page;
let inspector;

// As the inspector does it: the policy of the page lets nobody else evaluate anything.
async function evaluate(expression) {
  const order = { expression, awaitPromise: true, returnByValue: true };
  const { result, exceptionDetails } = await inspector.send('Runtime.evaluate', order);
  if (exceptionDetails) {
    throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  }
  return result.value;
}

function place({ role, name, selector }) {
  if (selector) return page.locator(selector);
  return page.getByRole(role, name === undefined ? {} : { name, exact: true });
}

await serve({
  // A fresh profile, with the page opened in it.
  async open({ url, width = 1200, height = 800, scheme = 'light', script = null }) {
    await context?.close();
    context = await browser.newContext({
      viewport: { width, height },
      colorScheme: scheme,
      permissions: ['microphone', 'clipboard-read', 'clipboard-write'],
    });
    page = await context.newPage();
    page.setDefaultTimeout(8000);
    inspector = await context.newCDPSession(page);
    page.on('pageerror', (error) => say({ fault: String(error) }));
    page.on('console', (message) => {
      // What the browser itself says of an answer like 401 is no fault of the page.
      const refused = message.text().startsWith('Failed to load resource');
      if (message.type() === 'error' && !refused) say({ fault: message.text() });
    });
    await page.addInitScript(microphone);
    if (script) await page.addInitScript(script);
    await page.goto(url);
  },
  async look({ width, height, scheme }) {
    if (width) await page.setViewportSize({ width, height });
    if (scheme) await page.emulateMedia({ colorScheme: scheme });
  },
  click: (command) => place(command).click(),
  fill: (command) => place(command).fill(command.text),
  press: ({ keys }) => page.keyboard.press(keys),
  // Waits until the element shows this text, or at least is visible; returns its text.
  async see(command) {
    const found = place(command).filter(command.text ? { hasText: command.text } : {}).first();
    await found.waitFor({ state: 'visible', timeout: command.timeout_ms });
    return found.innerText();
  },
  texts: (command) => place(command).allInnerTexts(),
  // Waits until the body of a function returns something true; returns that.
  async until({ body, timeout_ms: timeout = 8000 }) {
    const deadline = Date.now() + timeout;
    for (;;) {
      const value = await evaluate(`(async () => { ${body} })()`);
      if (value) return value;
      if (Date.now() > deadline) throw new Error(`never true: ${body}`);
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
  },
  evaluate: ({ body }) => evaluate(`(async () => { ${body} })()`),
  say: ({ samples, wait }) =>
    evaluate(`(async () => { ${wait ? 'await' : 'void'} testPage.say('${samples}') })()`),
  async screenshot({ path, full = false }) {
    await page.screenshot({ path, fullPage: full });
  },
  // What axe-core holds against the page, serious or worse, one line each.
  async axe() {
    await evaluate(`${axe}; null`);
    const { violations } = await evaluate(`axe.run(document, { resultTypes: ['violations'] })`);
    return violations
      .filter(({ impact }) => ['serious', 'critical'].includes(impact))
      .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`));
  },
});
