import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Call } from '../../gateway/web/call.js';

// A peer connection that goes on gathering until it is told to stop.
class Gathering extends EventTarget {
  iceGatheringState = 'gathering';
  localDescription = { sdp: 'v=0' };
  createDataChannel = () => new EventTarget();
  createOffer = async () => ({});
  setLocalDescription = async () => {};
  setRemoteDescription = async () => {};
  close() {}

  constructor() {
    super();
    Gathering.latest = this;
  }

  complete() {
    this.iceGatheringState = 'complete';
    this.dispatchEvent(new Event('icegatheringstatechange'));
  }
}
globalThis.RTCPeerConnection = Gathering;

// Nobody waits at the end for a time that has no use any more.
const { setTimeout: wait } = globalThis;
globalThis.setTimeout = (act, ms) => wait(act, ms).unref();

function placing() {
  const done = [];
  const api = {
    call: async () => {
      done.push('call');
      return { id: 'rtc_1', sdp: 'v=0' };
    },
    hangUp: async (id) => done.push(`hang up ${id}`),
  };
  const call = new Call(api, []);
  const placed = call.place({ getAudioTracks: () => [] }, null);
  return { call, placed, done };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('who hangs up while candidates are gathered has called nobody', async () => {
  const { call, placed, done } = placing();
  await turn();
  call.hangUp();
  Gathering.latest.complete();
  await placed;
  assert.deepEqual(done, []);
});

test('who hangs up while the gateway is asked has its call ended there', async () => {
  const { call, placed, done } = placing();
  await turn();
  Gathering.latest.complete();
  while (!done.length) await Promise.resolve();
  call.hangUp();
  await placed;
  assert.deepEqual(done, ['call', 'hang up rtc_1']);
});
