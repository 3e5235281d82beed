// How loud a stream is, for meters and for the timeline.

const FLOOR_DB = -50;
const TOP_DB = -8; // of speech as loud as it gets

export class Level {
  #source;
  #analyser;
  #samples;

  constructor(context, stream) {
    this.#analyser = context.createAnalyser();
    this.#analyser.fftSize = 1024; // 21 ms at 48 kHz
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#source = context.createMediaStreamSource(stream);
    this.#source.connect(this.#analyser);
  }

  // From 0 (nothing) to 1 (loud speech), even to the ear.
  read() {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let energy = 0;
    for (const sample of this.#samples) energy += sample * sample;
    const db = 10 * Math.log10(energy / this.#samples.length + 1e-12);
    return Math.min(1, Math.max(0, (db - FLOOR_DB) / (TOP_DB - FLOOR_DB)));
  }

  close() {
    this.#source.disconnect();
  }
}

// A bar that rises at once and falls slowly. The number goes to the accessibility tree in steps, as
// nobody wants to hear each of them.
export class Meter {
  #node;
  #bar;
  #shown = 0;
  #told = -1;

  constructor(node) {
    this.#node = node;
    this.#bar = node.firstElementChild;
  }

  reset() {
    this.#shown = 0;
    this.draw(0);
  }

  draw(level) {
    this.#shown = Math.max(level, this.#shown * 0.8);
    if (this.#shown < 0.005) this.#shown = 0;
    this.#bar.style.transform = `scaleX(${this.#shown.toFixed(3)})`;
    const told = Math.round(this.#shown * 10) * 10;
    if (told === this.#told) return;
    this.#told = told;
    this.#node.setAttribute('aria-valuenow', String(told));
  }
}
