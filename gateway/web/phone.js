// The phone itself: from the button to the end of a call, and what the views are told meanwhile.

import { Call } from './call.js';
import { Conversation } from './conversation.js';
import { ConversationView } from './conversation-view.js';
import { announce, byId, copies } from './dom.js';
import { EventLog } from './event-log.js';
import { span, spokenTime } from './format.js';
import { Keypad } from './keypad.js';
import * as microphone from './microphone.js';
import { Options } from './options.js';
import { Screen, isInCall } from './screen.js';
import { Sound } from './sound.js';
import { Timeline } from './timeline.js';
import { TimelineView } from './timeline-view.js';
import * as words from './words.js';

const LEVEL_MS = 50;
const DRAW_MS = 80;
const DRAW_CALMLY_MS = 1000; // for those who want no motion
const DOUBLE_CLICK_MS = 600;
const GREET = 'event_page_greet';
// What is said of it when a line that greets by itself has begun already.
const GREETED = ['conversation_already_has_active_response', 'response_already_active'];

const calm = matchMedia('(prefers-reduced-motion: reduce)');
const now = () => performance.now();

export class Phone {
  #api;
  #needKey;
  #trouble;
  #call = null;
  #beganAt = 0;
  #drawnAt = -Infinity;
  #ticking = null;
  #speaking = { user: false, agent: false };
  #conversation = new Conversation();
  #timeline = new Timeline();
  #conversationView = new ConversationView(byId('conversation'));
  #timelineView = new TimelineView();
  #log = new EventLog();
  #options = new Options();
  #screen = new Screen();
  #sound = new Sound();
  #keypad = new Keypad((key) => this.#press(key));
  #choice = new microphone.MicrophoneChoice(byId('microphone'), () => this.#chosen());

  #softphone = null; // what the gateway has told of itself

  // `needKey` is called with the error of an answer that asks for a key.
  constructor(api, trouble, needKey) {
    this.#api = api;
    this.#trouble = trouble;
    this.#needKey = needKey;
    byId('call').addEventListener('click', () => this.#pushed());
    byId('mute').addEventListener('click', () => this.#mute(!this.#sound.muted));
    byId('check').addEventListener('click', () => this.#check());
    copies(byId('copy-id'), () => this.callId);
    window.addEventListener('pagehide', () => this.#call?.hangUp({ leaving: true }));
    this.#choice.refresh();
    if (!microphone.isPossible()) this.#noMicrophone();
  }

  get callId() {
    return this.#call?.id ?? '';
  }

  // What the gateway has told of itself; a call may not have been possible before.
  told(softphone) {
    this.#softphone = softphone;
    if (isInCall(this.#screen.state)) return;
    this.#screen.show('idle');
    if (softphone.webrtc !== false) return;
    this.#screen.off();
    this.#trouble.show(words.phonesOnly());
  }

  #pushed() {
    if (now() - this.#screen.since < DOUBLE_CLICK_MS) return;
    if (!isInCall(this.#screen.state)) this.#start(true);
    else if (this.#call) this.#call.hangUp();
    else this.#ended({ by: 'you' });
  }

  // `withVoice` false: a call by ears and keys only.
  async #start(withVoice) {
    this.#trouble.clear();
    this.#sound.wake();
    this.#screen.show('asking');
    try {
      if (withVoice) await this.#sound.open(this.#choice.deviceId);
      else this.#sound.openSilence();
    } catch (error) {
      this.#screen.show('idle');
      this.#noMicrophone(error);
      return;
    }
    this.#choice.refresh(); // they have names now
    await this.#place();
  }

  #noMicrophone(error) {
    const trouble = microphone.isPossible() ? words.microphoneTrouble(error) : words.insecure();
    this.#screen.say(trouble.title);
    this.#trouble.show(trouble, () => this.#start(false));
  }

  async #place() {
    this.#begin();
    const beganAt = this.#beganAt;
    const isOver = () => this.#beganAt !== beganAt || !isInCall(this.#screen.state);
    try {
      this.#softphone ??= await this.#api.softphone();
      if (isOver()) return; // given up while the gateway was asked
      this.#call = new Call(this.#api, this.#softphone.ice_servers);
    } catch (error) {
      if (!isOver()) this.#ended({ by: 'failure', error });
      return;
    }
    const on = (type, act) => this.#call.addEventListener(type, ({ detail }) => act(detail));
    on('state', (state) => this.#stateChanged(state));
    on('voice', (voice) => this.#hear(voice));
    on('server', (event) => this.#received(event));
    on('client', (event) => this.#log.add('sent', event, now()));
    on('page', (event) => this.#log.add('page', event, now()));
    on('figures', (figures) => this.#screen.figures(figures));
    on('ended', (how) => this.#ended(how));
    await this.#call.place(this.#sound.stream, this.#options.session());
  }

  // Everything of the last call makes room.
  #begin() {
    this.#call = null;
    this.#beganAt = now();
    this.#conversation = new Conversation();
    this.#timeline = new Timeline();
    this.#speaking = { user: false, agent: false };
    this.#conversationView.clear();
    this.#log.begin(this.#beganAt);
    this.#timeline.begin(this.#beganAt);
    this.#timelineView.begin(this.#timeline);
    this.#mute(false);
    this.#screen.figures({});
    this.#screen.call('');
    this.#screen.show('placing');
    announce('Calling.');
    this.#tickOn();
  }

  #stateChanged(state) {
    const call = this.#call;
    this.#screen.show(state);
    this.#screen.call(call.id);
    if (state !== 'active') return;
    this.#screen.follow(this.#speaking, false);
    announce('Connected.');
    this.#note('info', `Connected in ${span(call.setupMs)}.`);
    this.#keypad.enable(call.takesKeys);
    if (!call.takesKeys) this.#note('warn', 'The gateway took no key presses into this call.');
    call.send({ type: 'response.create', event_id: GREET });
  }

  #received(event) {
    const at = now();
    this.#log.add('received', event, at);
    if (event.type === 'session.created') this.#transcribe(event.session);
    if (isGreeted(event)) return;
    this.#follow(event.type);
    const answer = this.#timeline.receive(event, at);
    this.#conversation.receive(event, at);
    if (answer) this.#conversation.answered(answer.id, answer.ms);
    this.#drawConversation();
  }

  async #hear(voice) {
    if (await this.#sound.hear(voice)) return;
    this.#trouble.show(words.silenced(), () => this.#sound.wake());
  }

  #transcribe(session) {
    const update = this.#options.transcriptionFor(session);
    if (update) this.#call.send({ type: 'session.update', session: update });
  }

  #follow(type) {
    const [, way, what] = /^(input|output)_audio_buffer\.(?:speech_)?(started|stopped|cleared)$/.exec(type) ?? [];
    if (!way) return;
    this.#speaking[way === 'input' ? 'user' : 'agent'] = what === 'started';
    this.#screen.follow(this.#speaking, this.#sound.muted);
  }

  async #ended(how) {
    const at = now();
    const call = this.#call;
    const talked = call !== null && call.setupMs !== null;
    this.#tickOff();
    this.#trouble.clear();
    this.#sound.close();
    this.#sound.hear(null);
    this.#keypad.enable(false);
    this.#conversation.end(at);
    if (talked) this.#timeline.end(at);
    else this.#timeline = new Timeline();
    this.#timelineView.end(this.#timeline);
    this.#log.add('page', { type: 'call.ended', call_id: this.callId, by: how.by }, at);
    this.#screen.show('ended');
    const why = await this.#explain(how, call);
    if (this.#call !== call || this.#screen.state !== 'ended') return; // the next one is under way
    const lasted = talked ? `Call ended after ${spokenTime((at - this.#beganAt) / 1000)}` : 'No call';
    const told = `${lasted}: ${why}`;
    this.#screen.say(told);
    this.#note(how.by === 'you' ? 'info' : 'warn', `${told}.`);
    announce(`${told}.`);
  }

  // Says why in a few words, and shows what can be done about it.
  async #explain(how, call) {
    if (how.by === 'you') return 'you hung up';
    if (how.by === 'network') {
      this.#trouble.show(words.iceTrouble(how.lost));
      return how.lost ? 'the connection was lost' : 'no audio got through';
    }
    if (how.by === 'line') {
      const record = await this.#api.find(call.id).catch(() => null);
      return record?.reason ? words.endReason(record.reason) : 'the connection was closed';
    }
    const { error } = how;
    if (error.status === 401 || error.status === 403) {
      this.#needKey(error);
      return 'the gateway asks for a key';
    }
    const told = error.status === undefined ? words.browserTrouble(error) : words.callTrouble(error);
    this.#trouble.show(told);
    return 'it could not be placed';
  }

  #press(key) {
    const at = now();
    this.#call.press(key);
    this.#timeline.press(key, at);
    this.#conversation.press(key);
    this.#drawConversation();
    this.#log.add('page', { type: 'key.pressed', text: key }, at);
  }

  #mute(muted) {
    this.#sound.muted = muted;
    this.#call?.mute(muted);
    this.#screen.mute(muted);
    if (this.#screen.state === 'active') this.#screen.follow(this.#speaking, muted);
  }

  #note(tone, text) {
    this.#conversation.note(tone, text);
    this.#drawConversation();
  }

  #drawConversation() {
    this.#conversationView.draw(this.#conversation.entries);
  }

  // Another microphone was chosen.
  async #chosen() {
    if (this.#sound.stream === null) return;
    try {
      if (!await this.#sound.open(this.#choice.deviceId)) return;
      await this.#call?.useMicrophone(this.#sound.stream);
      this.#call?.mute(this.#sound.muted);
    } catch (error) {
      this.#trouble.show(words.microphoneTrouble(error));
    }
  }

  // Opens the microphone for its meter only, and closes it again.
  async #check() {
    if (this.#sound.stream) {
      this.#sound.close();
      this.#tickOff();
    } else {
      this.#trouble.clear();
      this.#sound.wake();
      try {
        if (!await this.#sound.open(this.#choice.deviceId)) return; // a call was begun meanwhile
        this.#choice.refresh();
        this.#tickOn();
      } catch (error) {
        this.#noMicrophone(error);
      }
    }
    this.#screen.checking(this.#sound.stream !== null);
  }

  #tickOn() {
    this.#screen.checking(false);
    this.#ticking ??= setInterval(() => this.#tick(), LEVEL_MS);
  }

  #tickOff() {
    clearInterval(this.#ticking);
    this.#ticking = null;
  }

  #tick() {
    const at = now();
    const levels = this.#sound.read();
    if (!isInCall(this.#screen.state)) return;
    this.#timeline.levels.user.add(levels.user, at);
    this.#timeline.levels.agent.add(levels.agent, at);
    this.#screen.duration(at - this.#beganAt);
    if (document.hidden || at - this.#drawnAt < (calm.matches ? DRAW_CALMLY_MS : DRAW_MS)) return;
    this.#drawnAt = at;
    this.#timelineView.draw(at);
  }
}

function isGreeted({ type, error }) {
  return type === 'error' && error.event_id === GREET && GREETED.includes(error.code);
}
