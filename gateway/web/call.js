// One call over WebRTC: offer, answer, the data channel with its events, keys, and its end.
//
//   placing ──► connecting ──► active ──► ended
//
// Dispatches `state` (detail: the state), `voice` (the agent's MediaStream), `server` and `client`
// (an event that came or went), `page` (an event of this side, for the log), `figures` (what
// getStats knows) and, once, `ended` (detail: how).

const CONNECT_MS = 20_000;
const LOST_MS = 8_000; // a change of network takes a few seconds to get over
const GATHER_MS = 700;
const FIGURES_MS = 2_000;
const TONE_MS = 120;
const GAP_MS = 70;
const CHANNEL = 'oai-events';

export class Call extends EventTarget {
  #api;
  #peer;
  #channel;
  #sender = null;
  #timers = new Set();
  #lost = 0;
  #began = 0;
  #figures = null;
  #packets = new Map();

  id = '';
  state = 'placing';
  setupMs = null;

  constructor(api, iceServers) {
    super();
    this.#api = api;
    this.#peer = new RTCPeerConnection({ iceServers });
    this.#peer.addEventListener('track', ({ streams, track }) => {
      this.#tell('voice', streams[0] ?? new MediaStream([track]));
    });
    this.#peer.addEventListener('connectionstatechange', () => this.#connectionChanged());
    this.#channel = this.#peer.createDataChannel(CHANNEL);
    this.#channel.addEventListener('open', () => this.#maybeActive());
    this.#channel.addEventListener('message', ({ data }) => this.#received(data));
    this.#channel.addEventListener('close', () => this.#end({ by: 'line' }));
  }

  // Resolves when the gateway has answered, or the call has ended without.
  async place(stream, session) {
    this.#began = performance.now();
    try {
      for (const track of stream.getAudioTracks()) this.#sender = this.#peer.addTrack(track, stream);
      await this.#peer.setLocalDescription(await this.#peer.createOffer());
      await gathered(this.#peer, GATHER_MS);
      if (this.state === 'ended') return; // given up while candidates were gathered
      const offer = this.#peer.localDescription.sdp;
      this.#tell('page', { type: 'call.offer', sdp: offer, session });
      const { id, sdp } = await this.#api.call(offer, session);
      this.id = id;
      this.#tell('page', { type: 'call.answer', call_id: id, sdp });
      if (this.state === 'ended') {
        this.#release(); // given up while the gateway was asked
        return;
      }
      this.#become('connecting');
      this.#after(CONNECT_MS, () => {
        if (this.state === 'connecting') this.#end({ by: 'network', lost: false });
      });
      await this.#peer.setRemoteDescription({ type: 'answer', sdp });
    } catch (error) {
      this.#end({ by: 'failure', error });
    }
  }

  send(event) {
    if (this.#channel.readyState !== 'open') return;
    this.#channel.send(JSON.stringify(event));
    this.#tell('client', event);
  }

  get takesKeys() {
    const dtmf = this.#sender?.dtmf;
    // Some browsers send keys, and do not say beforehand that they can.
    return this.state === 'active' && Boolean(dtmf) && dtmf.canInsertDTMF !== false;
  }

  // Sends a key as telephone-event; those still to be sent come first.
  press(key) {
    const { dtmf } = this.#sender;
    dtmf.insertDTMF(dtmf.toneBuffer + key, TONE_MS, GAP_MS);
  }

  mute(muted) {
    if (this.#sender?.track) this.#sender.track.enabled = !muted;
  }

  async useMicrophone(stream) {
    if (this.state !== 'ended') await this.#sender?.replaceTrack(stream.getAudioTracks()[0]);
  }

  // `leaving`: the page is on its way out.
  hangUp({ leaving = false } = {}) {
    this.#end({ by: 'you' }, leaving);
  }

  #received(data) {
    let event;
    try {
      event = JSON.parse(data);
    } catch {
      event = { type: 'unreadable', text: String(data).slice(0, 200) };
    }
    this.#tell('server', event);
  }

  #connectionChanged() {
    const { connectionState } = this.#peer;
    this.#tell('page', { type: 'call.connection', state: connectionState });
    clearTimeout(this.#lost);
    if (connectionState === 'connected') this.#maybeActive();
    else if (connectionState === 'failed') this.#end({ by: 'network', lost: this.#wasActive });
    else if (connectionState === 'closed') this.#end({ by: 'line' });
    else if (connectionState === 'disconnected' && this.#wasActive) {
      this.#lost = setTimeout(() => this.#end({ by: 'network', lost: true }), LOST_MS);
      this.#timers.add(this.#lost);
    }
  }

  get #wasActive() {
    return this.setupMs !== null;
  }

  #maybeActive() {
    const ready =
      this.#channel.readyState === 'open' && this.#peer.connectionState === 'connected';
    if (!ready || this.state !== 'connecting') return;
    this.setupMs = performance.now() - this.#began;
    this.#become('active');
    this.#figures = setInterval(() => this.#measure(), FIGURES_MS);
    this.#measure();
  }

  async #measure() {
    const report = await this.#peer.getStats();
    if (this.state === 'active') this.#tell('figures', figuresOf(report, this.#packets));
  }

  // How: {by: 'you'}, {by: 'line'}, {by: 'network', lost} or {by: 'failure', error}.
  #end(how, leaving = false) {
    if (this.state === 'ended') return;
    for (const timer of this.#timers) clearTimeout(timer);
    clearInterval(this.#figures);
    this.state = 'ended';
    if (how.by !== 'line') this.#release(leaving);
    this.#peer.close();
    this.#tell('ended', how);
  }

  // The gateway would notice by itself, but later, and not why.
  #release(leaving = false) {
    if (this.id) this.#api.hangUp(this.id, { leaving }).catch(() => {}); // it may be over there too
  }

  #become(state) {
    this.state = state;
    this.#tell('state', state);
  }

  #after(ms, then) {
    this.#timers.add(setTimeout(then, ms));
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

// Our candidates are of use to a gateway behind NAT, and of none that is worth a long wait.
function gathered(peer, ms) {
  if (peer.iceGatheringState === 'complete') return Promise.resolve();
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
    peer.addEventListener('icegatheringstatechange', () => {
      if (peer.iceGatheringState === 'complete') resolve();
    });
  });
}

// {codec, path, roundTripMs, jitterMs, lostIn, lostOut}, without what is not known. `before` holds
// the counters of the last time, for the share that was lost since.
function figuresOf(report, before) {
  const figures = {};
  for (const one of report.values()) {
    if (one.type === 'inbound-rtp' && one.kind === 'audio') {
      figures.codec = report.get(one.codecId)?.mimeType.split('/')[1];
      figures.jitterMs = 1000 * one.jitter;
      const lost = one.packetsLost - (before.get('lost') ?? 0);
      const received = one.packetsReceived - (before.get('received') ?? 0);
      if (lost + received > 0) figures.lostIn = Math.max(0, lost) / (lost + received);
      before.set('lost', one.packetsLost).set('received', one.packetsReceived);
    } else if (one.type === 'remote-inbound-rtp' && one.kind === 'audio') {
      figures.lostOut = one.fractionLost;
    } else if (one.type === 'candidate-pair' && one.nominated && one.state === 'succeeded') {
      if (one.currentRoundTripTime) figures.roundTripMs = 1000 * one.currentRoundTripTime;
      figures.path = pathOf(report.get(one.localCandidateId), report.get(one.remoteCandidateId));
    }
  }
  return figures;
}

const PATHS = { host: 'direct', srflx: 'through NAT', prflx: 'through NAT', relay: 'by TURN' };

// How the packets go, in two words.
function pathOf(local, remote) {
  if (local?.candidateType === 'relay' || remote?.candidateType === 'relay') return PATHS.relay;
  return PATHS[local?.candidateType];
}
