"""From one audio format to another, as a stream.

What has to be done depends only on the two formats:

* equal formats: nothing, the same bytes object comes back;
* one G.711 law to the other: one `bytes.translate`;
* another rate: G.711 is decoded, FFmpeg's resampler (libswresample) changes the rate, and the
  result is encoded again where the target is G.711.

A resampler looks 2 ms ahead, so it keeps that much back until more audio comes or `flush` says
that none will; it adds no other delay, and what it returns in all has the duration of what went in.
It keeps its filter state between chunks, which may have any length: without it every chunk border
would click. It works on one channel only, because FFmpeg lowers the level by 3 dB when it turns one
channel into two.
"""

from typing import Final, cast

import numpy as np
from av.audio.frame import AudioFrame
from av.filter.context import FilterContext
from av.filter.graph import Graph

from gateway.audio import g711
from gateway.audio.formats import AudioFormat

_SAMPLE_BYTES: Final = 2


class Transcoder:
    """Converts a stream of audio from `source` to `target`, chunk by chunk.

    Chunks of 16-bit PCM may end in the middle of a sample; the odd byte waits for the next chunk.
    """

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        self.source = source
        self.target = target
        self._same_law = source == target and source.encoding != "pcm16"
        self._table = b""
        if source != target and source.encoding != "pcm16" and target.encoding != "pcm16":
            self._table = g711.TRANSLATE[source.encoding]
        self._resampler: _Resampler | None = None
        self._carry = b""

    def convert(self, audio: bytes) -> bytes:
        """The next chunk of the stream, as far as it is complete; that may be nothing."""
        if self._same_law:
            return audio
        if self._table:
            return audio.translate(self._table)
        linear = self._decoded(audio)
        if self.source.rate_hz != self.target.rate_hz:
            linear = self._resampled(linear)
        return self._encoded(linear)

    def flush(self) -> bytes:
        """The end of the stream: what was kept back. The next chunk begins a new stream."""
        resampler = self._resampler
        self.reset()
        return self._encoded(resampler.finish()) if resampler else b""

    def reset(self) -> None:
        """Forget the stream so far: nothing of it is heard in what comes next."""
        self._resampler = None
        self._carry = b""

    def _resampled(self, linear: bytes) -> bytes:
        if not linear:
            return b""  # FFmpeg knows no empty frames
        if self._resampler is None:
            self._resampler = _Resampler(self.source.rate_hz, self.target.rate_hz)
        return self._resampler.push(linear)

    def _decoded(self, audio: bytes) -> bytes:
        law = self.source.encoding
        if law == "pcm16":
            return self._whole_samples(audio)
        return g711.decode(audio, law).tobytes()

    def _encoded(self, linear: bytes) -> bytes:
        law = self.target.encoding
        if law == "pcm16":
            return linear
        return g711.encode(np.frombuffer(linear, np.int16), law)

    def _whole_samples(self, audio: bytes) -> bytes:
        if self._carry:
            audio = self._carry + audio
            self._carry = b""
        if len(audio) % _SAMPLE_BYTES:
            self._carry = audio[-1:]
            audio = audio[:-1]
        return audio


class _Resampler:
    """One stream of 16-bit mono samples through FFmpeg's `aresample` filter.

    The filter graph is driven directly: PyAV's `AudioResampler` asks it for output until it raises,
    and an exception for every frame would nearly double the cost.
    """

    def __init__(self, source_hz: int, target_hz: int) -> None:
        self._source_hz = source_hz
        self._graph = Graph()
        self._graph.threads = 1  # otherwise every graph brings a thread per core
        self._input = self._graph.add(
            "abuffer", sample_rate=str(source_hz), sample_fmt="s16", channel_layout="mono"
        )
        resample = self._graph.add("aresample", str(target_hz))
        form = self._graph.add(
            "aformat", sample_rates=str(target_hz), sample_fmts="s16", channel_layouts="mono"
        )
        self._output: FilterContext = self._graph.add("abuffersink")
        self._graph.link_nodes(self._input, resample, form, self._output).configure()

    def push(self, linear: bytes) -> bytes:
        """The output that these samples complete: one frame, or none if they were few."""
        frame = AudioFrame(format="s16", layout="mono", samples=len(linear) // _SAMPLE_BYTES)
        frame.sample_rate = self._source_hz
        frame.planes[0].update(linear)
        self._input.push(frame)
        return self._pull()

    def finish(self) -> bytes:
        """The samples kept back; nothing can be pushed afterwards."""
        self._input.push(None)
        return self._pull()

    def _pull(self) -> bytes:
        try:
            frame = cast(AudioFrame, self._output.pull())
        except (BlockingIOError, EOFError):
            return b""
        return bytes(memoryview(frame.planes[0])[: frame.samples * _SAMPLE_BYTES])
