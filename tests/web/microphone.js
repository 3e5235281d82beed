// Runs in the page before its own scripts: the microphone is the test's.

(() => {
  let output = null;

  function context() {
    if (output) return output.context;
    output = new AudioContext().createMediaStreamDestination();
    const quiet = output.context.createConstantSource(); // or else nothing is sent at all
    quiet.offset.value = 0;
    quiet.connect(output);
    quiet.start();
    return output.context;
  }

  window.testPage = {
    refusal: null, // the name of the error, if the microphone is refused
    prompts: null, // a list: each request waits until its entry is called
    // Plays 16-bit samples, given in base64; resolves when they are over.
    say(base64, rate) {
      const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
      const samples = Float32Array.from(new Int16Array(bytes.buffer), (one) => one / 32768);
      const buffer = context().createBuffer(1, samples.length, rate);
      buffer.copyToChannel(samples, 0);
      const source = context().createBufferSource();
      source.buffer = buffer;
      source.connect(output);
      source.start();
      return new Promise((resolve) => source.addEventListener('ended', () => resolve()));
    },
  };

  if (!navigator.mediaDevices) return; // about:blank
  navigator.mediaDevices.getUserMedia = async () => {
    const { prompts } = window.testPage;
    if (prompts) await new Promise((answered) => prompts.push(answered));
    if (window.testPage.refusal) throw new DOMException('refused', window.testPage.refusal);
    await context().resume();
    // A stream for each who asks: closing one must not silence the next.
    return new MediaStream(output.stream.getAudioTracks().map((track) => track.clone()));
  };
})();
