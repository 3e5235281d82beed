// The microphone and the agent's voice: opening, playing, and how loud they are.

import { byId } from './dom.js';
import { Level, Meter } from './levels.js';
import * as microphone from './microphone.js';

export class Sound {
  #context = null; // only a click may make one
  #levels = { user: null, agent: null };
  #meters = { user: new Meter(byId('meter-user')), agent: new Meter(byId('meter-agent')) };

  stream = null; // of the microphone
  muted = false;

  // To be called within a click.
  wake() {
    this.#context ??= new AudioContext();
    this.#context.resume();
  }

  // Throws what getUserMedia throws; the microphone that was open stays so then.
  async open(deviceId) {
    this.#use(await microphone.open(deviceId));
  }

  // Says nothing, in the place of a microphone.
  openSilence() {
    this.#use(microphone.silent(this.#context));
  }

  close() {
    this.#use(null);
  }

  // Plays the agent's voice; null for none.
  hear(voice) {
    byId('voice').srcObject = voice;
    this.#watch('agent', voice);
    if (voice) byId('voice').play().catch(() => {}); // it plays by itself: a click came before
  }

  // Draws the meters; returns both levels, 0 to 1.
  read() {
    const user = this.muted ? 0 : (this.#levels.user?.read() ?? 0);
    const agent = this.#levels.agent?.read() ?? 0;
    this.#meters.user.draw(user);
    this.#meters.agent.draw(agent);
    return { user, agent };
  }

  #use(stream) {
    microphone.close(this.stream);
    this.stream = stream;
    this.#watch('user', stream);
  }

  #watch(who, stream) {
    this.#levels[who]?.close();
    this.#levels[who] = stream ? new Level(this.#context, stream) : null;
    this.#meters[who].reset();
  }
}
