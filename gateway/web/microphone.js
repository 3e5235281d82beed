// The microphone: which ones there are, opening one, and silence in the place of one.

import { forGood } from './storage.js';

const WANTED = {
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
  channelCount: 1,
};
const CHOSEN = 'gateway.microphone';

// Whether this page may ask for a microphone at all: not by plain http from another machine.
export function isPossible() {
  return window.isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);
}

// Opens the microphone with this id, or another one when it is gone. Throws what getUserMedia throws.
export async function open(deviceId) {
  const audio = deviceId ? { ...WANTED, deviceId: { exact: deviceId } } : WANTED;
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    const gone = deviceId && ['OverconstrainedError', 'NotFoundError'].includes(error.name);
    if (!gone) throw error;
    return navigator.mediaDevices.getUserMedia({ audio: WANTED });
  }
}

export function close(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

// A stream that says nothing, for a call by ears and keys only.
export function silent(context) {
  const output = context.createMediaStreamDestination();
  const source = context.createConstantSource(); // without a source nothing is sent, and no keys
  source.offset.value = 0;
  source.connect(output);
  source.start();
  return output.stream;
}

// Keeps a select element filled with the microphones. Browsers name them once they may be used.
export class MicrophoneChoice {
  #select;

  constructor(select, chosen) {
    this.#select = select;
    select.addEventListener('change', () => {
      forGood.set(CHOSEN, select.value);
      chosen();
    });
    navigator.mediaDevices?.addEventListener('devicechange', () => this.refresh());
  }

  get deviceId() {
    return this.#select.value;
  }

  // Where the browser does not tell, the choice stays what it was.
  async refresh() {
    const devices = await navigator.mediaDevices?.enumerateDevices().catch(() => null);
    if (!devices) return;
    const inputs = devices.filter(
      ({ kind, deviceId }) => kind === 'audioinput' && deviceId && deviceId !== 'default',
    );
    const wanted = forGood.get(CHOSEN);
    const options = inputs.map(
      ({ deviceId, label }, index) => new Option(label || `Microphone ${index + 1}`, deviceId),
    );
    this.#select.replaceChildren(new Option('The system’s default', ''), ...options);
    const known = inputs.some(({ deviceId }) => deviceId === wanted);
    this.#select.value = known ? wanted : '';
  }
}
