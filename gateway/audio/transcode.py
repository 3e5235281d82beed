"""From one audio format to another, as a stream.

What has to be done depends only on the two formats:

* equal formats: nothing, the same bytes object comes back;
* one G.711 law to the other: one `bytes.translate`;
* another rate: G.711 is decoded, the rate is changed, and the result is encoded again where the
  target is G.711.

A resampler looks at most 2 ms ahead, so it keeps that much back until more audio comes or `flush`
says that none will; it adds no other delay, and what it returns in all has the duration of what
went in. It keeps its state between chunks, which may have any length: without it every chunk border
would click.
"""

import numpy as np

from gateway.audio import g711
from gateway.audio.formats import AudioFormat
from gateway.audio.g711 import Samples
from gateway.audio.resample import Resampler


class Transcoder:
    """Converts a stream of audio from `source` to `target`, chunk by chunk.

    Chunks of 16-bit PCM may end in the middle of a sample; the odd byte waits for the next chunk.
    """

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        self.source = source
        self.target = target
        self._equal = source == target
        self._sample_bytes = source.bytes_per_sample
        self._table = b""
        if not self._equal and source.encoding != "pcm16" and target.encoding != "pcm16":
            self._table = g711.TRANSLATE[source.encoding]
        self._resampler: Resampler | None = None
        self._carry = b""

    def convert(self, audio: bytes) -> bytes:
        """The next chunk of the stream, as far as it is complete; that may be nothing."""
        if self._equal:
            return self._whole_samples(audio)
        if self._table:
            return audio.translate(self._table)
        samples = self._decoded(audio)
        if self.source.rate_hz != self.target.rate_hz:
            if self._resampler is None:
                self._resampler = Resampler(self.source.rate_hz, self.target.rate_hz)
            samples = self._resampler.push(samples)
        return self._encoded(samples)

    def flush(self) -> bytes:
        """The end of the stream: what was kept back. The next chunk begins a new stream."""
        resampler = self._resampler
        self.reset()
        return self._encoded(resampler.finish()) if resampler else b""

    def reset(self) -> None:
        """Forget the stream so far: nothing of it is heard in what comes next."""
        self._resampler = None
        self._carry = b""

    def _decoded(self, audio: bytes) -> Samples:
        law = self.source.encoding
        if law == "pcm16":
            return np.frombuffer(self._whole_samples(audio), np.int16)
        return g711.decode(audio, law)

    def _encoded(self, samples: Samples) -> bytes:
        law = self.target.encoding
        return samples.tobytes() if law == "pcm16" else g711.encode(samples, law)

    def _whole_samples(self, audio: bytes) -> bytes:
        if self._carry:
            audio = self._carry + audio
            self._carry = b""
        if len(audio) % self._sample_bytes:
            self._carry = audio[-1:]
            audio = audio[:-1]
        return audio
