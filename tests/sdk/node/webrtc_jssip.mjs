// JsSIP calls over SIP on a WebSocket, at the test's command; in Node and on a page.

import { flowing, person } from './caller.mjs';
import { say } from './commands.mjs';

let JsSIP;
if (globalThis.window) {
  const { load } = await import('./commonjs.mjs');
  JsSIP = load('jssip');
} else {
  globalThis.window = globalThis; // where it looks for what a browser has
  ({ default: JsSIP } = await import('jssip'));
}

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
        // JsSIP confirms the call before there is a way for media.
        call.connection.addEventListener('connectionstatechange', ({ target }) => {
          if (target.connectionState === 'connected') resolve();
        });
        call.on('failed', ({ cause, message }) =>
          reject(Object.assign(new Error(cause), { status: message?.status_code })),
        );
        call.on('ended', ({ originator, cause }) => say({ ended: { originator, cause } }));
        audio = document.createElement('audio');
        audio.autoplay = true;
        call.connection.addEventListener('track', ({ streams }) => (audio.srcObject = streams[0]));
      });
      agent.start();
    }),
  hold: () => told('hold'),
  unhold: () => told('unhold'),
  digits: async ({ keys, transport }) => {
    await flowing(call.connection);
    call.sendDTMF(keys, { transportType: transport, duration: 100, interToneGap: 100 });
  },
  hang_up: () => call.terminate(),
  // All that was heard so far, in Node: samples of 16 bits.
  recording: () => {
    const samples = Int16Array.from(audio.heard.flatMap((step) => [...step]));
    return { rate: audio.sampleRate, samples: Buffer.from(samples.buffer).toString('base64') };
  },
  close: () => {
    audio.stop?.();
    agent.stop();
  },
};
