// The microphone and the agent's voice: opening, playing, and how loud they are.

import { byId } from './dom.js';
import { Level, Meter } from './levels.js';
import * as microphone from './microphone.js';

export class Sound {
  #context = null; // only a click may make one
  #levels = { user: null, agent: null };
  #meters = { user: new Meter(byId('meter-user')), agent: new Meter(byId('meter-agent')) };
  #player = byId('voice');
  #wanted = 0; // counts what was wanted of the microphone: only the latest of it is done

  stream = null; // of the microphone
  muted = false;

  // To be called within a click: some browsers let nothing sound that did not begin in one, and what
  // did may go on with other sound later.
  wake() {
    this.#context ??= new AudioContext();
    this.#context.resume();
    this.#player.play().catch(() => {}); // of nothing, as yet
  }

  // Resolves to whether the microphone is in use now: it is not if something else was wanted while
  // the browser asked for it. Throws what getUserMedia throws; what was open stays so then.
  async open(deviceId) {
    this.#wanted += 1;
    const mine = this.#wanted;
    let stream = null;
    try {
      stream = await microphone.open(deviceId);
    } catch (error) {
      if (mine === this.#wanted) throw error;
    }
    if (mine !== this.#wanted) {
      microphone.close(stream);
      return false;
    }
    this.#use(stream);
    return true;
  }

  // Says nothing, in the place of a microphone.
  openSilence() {
    this.#use(microphone.silent(this.#context));
  }

  close() {
    this.#use(null);
  }

  // Plays the agent's voice; null for none. Resolves to whether the browser lets it sound.
  async hear(voice) {
    this.#player.srcObject = voice;
    this.#watch('agent', voice);
    if (!voice) return true;
    try {
      await this.#player.play();
    } catch (error) {
      return error.name !== 'NotAllowedError'; // or else the call is over already
    }
    return true;
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
    this.#wanted += 1;
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
