// The `openai` package over WebRTC, at the test's command; in Node and on a page.

import OpenAI from 'openai';
import { OpenAIRealtimeWebRTC } from 'openai/realtime/webrtc';

import { person } from './caller.mjs';
import { say } from './commands.mjs';

let connection;

export const commands = {
  ...person(() => connection.peerConnection),
  connect: async ({ url, key, session }) => {
    const client = new OpenAI({
      apiKey: key,
      baseURL: url.replace('/realtime/calls', ''),
      dangerouslyAllowBrowser: true,
      maxRetries: 0,
    });
    let callId;
    connection = new OpenAIRealtimeWebRTC();
    connection.onEvent((event) => say({ event }));
    connection.onConnectionEvent((event) => say({ connection: event.reason ?? event.state }));
    const audio = document.createElement('audio');
    audio.autoplay = true;
    connection.peerConnection.ontrack = ({ streams }) => (audio.srcObject = streams[0]);
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    connection.peerConnection.addTrack(stream.getAudioTracks()[0], stream);
    await connection.connect({
      exchangeSdp: async (sdp, { signal }) => {
        const response = await client.realtime.calls.create({ sdp, session }, { signal });
        callId = response.headers.get('location').split('/').pop();
        return response.text();
      },
    });
    return callId;
  },
  say: ({ text }) => {
    const content = [{ type: 'input_text', text }];
    connection.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content } });
    connection.send({ type: 'response.create' });
  },
  send: ({ event }) => connection.send(event),
  close: () => connection.close(),
};
