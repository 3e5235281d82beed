// JsSIP calls over SIP on a WebSocket, at the test's command; in Node only.

import { person } from './caller.mjs';
import { say } from './commands.mjs';

globalThis.window = globalThis; // where JsSIP looks for what a browser has
const { default: JsSIP } = await import('jssip');

let agent;
let call;
let audio;

const told = (change) =>
  new Promise((resolve, reject) => {
    if (!call[change](undefined, resolve)) reject(new Error(`cannot ${change}`));
  });

export const commands = {
  ...person(() => call.connection),
  connect: ({ url, target }) =>
    new Promise((resolve, reject) => {
      const sockets = [new JsSIP.WebSocketInterface(url)];
      agent = new JsSIP.UA({ sockets, uri: 'sip:browser@example.test', register: false });
      agent.on('disconnected', ({ error }) => error && reject(new Error('no WebSocket')));
      agent.on('connected', () => {
        call = agent.call(target, { mediaConstraints: { audio: true, video: false } });
        call.on('confirmed', () => resolve());
        call.on('failed', ({ cause, message }) =>
          reject(Object.assign(new Error(cause), { status: message?.status_code })),
        );
        call.on('ended', ({ originator, cause }) => say({ ended: { originator, cause } }));
        audio = document.createElement('audio');
        call.connection.addEventListener('track', ({ streams }) => (audio.srcObject = streams[0]));
      });
      agent.start();
    }),
  hold: () => told('hold'),
  unhold: () => told('unhold'),
  // SIP INFO, which is what JsSIP does unless it is told otherwise.
  digits: ({ keys }) => call.sendDTMF(keys, { duration: 100, interToneGap: 100 }),
  hang_up: () => call.terminate(),
  // All that was heard so far: samples of 16 bits.
  recording: () => {
    const samples = Int16Array.from(audio.heard.flatMap((step) => [...step]));
    return { rate: audio.sampleRate, samples: Buffer.from(samples.buffer).toString('base64') };
  },
  close: () => {
    audio.stop();
    agent.stop();
  },
};
