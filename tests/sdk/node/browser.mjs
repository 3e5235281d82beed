// What a browser gives a page and Node does not have, from the libwebrtc of @roamhq/wrtc: peer
// connections, a microphone into which a file is spoken over and over, and `audio` elements.

import { readFileSync } from 'node:fs';

import wrtc from '@roamhq/wrtc';

const { RTCAudioSink, RTCAudioSource } = wrtc.nonstandard;
const STEP_MS = 10; // the source takes no other

// Samples of a WAV file with 16 bits and one channel, whose head has 44 bytes.
function samplesOf(path) {
  const bytes = readFileSync(path).subarray(44);
  return new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + (bytes.length & ~1)));
}

function microphone(path, sampleRate) {
  const samples = samplesOf(path);
  const numberOfFrames = (sampleRate * STEP_MS) / 1000;
  const source = new RTCAudioSource();
  const track = source.createTrack();
  let at = 0;
  let due = performance.now();
  const timer = setInterval(() => {
    if (track.readyState === 'ended') clearInterval(timer);
    for (; due <= performance.now(); due += STEP_MS) {
      const step = new Int16Array(numberOfFrames);
      for (let i = 0; i < numberOfFrames; i++) step[i] = samples[(at + i) % samples.length];
      at += numberOfFrames;
      source.onData({ samples: step, sampleRate, bitsPerSample: 16, channelCount: 1, numberOfFrames });
    }
  }, STEP_MS / 2);
  return track;
}

// Keeps the first channel of what it plays.
class AudioElement {
  heard = [];
  sampleRate = 0;
  #sink;

  set srcObject(stream) {
    this.#sink = new RTCAudioSink(stream.getAudioTracks()[0]);
    this.#sink.ondata = ({ samples, sampleRate, channelCount }) => {
      this.sampleRate = sampleRate;
      this.heard.push(samples.filter((_, index) => index % channelCount === 0));
    };
  }

  stop() {
    this.#sink?.stop();
  }
}

// Puts them where a page finds them. `sampleRate`: of the file.
export function become(path, sampleRate = 8000) {
  for (const name of ['RTCPeerConnection', 'RTCSessionDescription', 'MediaStream']) {
    globalThis[name] = wrtc[name];
  }
  globalThis.document = { createElement: () => new AudioElement() };
  Object.defineProperty(globalThis.navigator, 'mediaDevices', {
    value: { getUserMedia: async () => new wrtc.MediaStream([microphone(path, sampleRate)]) },
  });
}
