"""The audio road of a call: the media port and the session, joined by at most two transcoders.

    port ──► uplink ──► session.append_audio
    session ──► downlink ──► playout of the port

Nothing here decides whose audio is wanted; the conversation does.
"""

from collections.abc import Callable
from typing import Protocol

from gateway.audio.formats import AudioFormat
from gateway.audio.playout import Heard, ItemPart
from gateway.audio.transcode import Transcoder
from gateway.legs.leg import MediaPort, MediaStats


class TakesAudio(Protocol):
    """The session, as the caller's audio sees it."""

    def append_audio(self, audio: bytes) -> None: ...


class CallMedia:
    """A port joined with a session of these formats, from the moment the port is open."""

    def __init__(
        self,
        port: MediaPort,
        session: TakesAudio,
        input_format: AudioFormat,
        output_format: AudioFormat,
    ) -> None:
        self._port = port
        self._downlink: Transcoder | None = None
        if output_format != port.format:
            self._downlink = Transcoder(output_format, port.format)
        port.join(_uplink(port.format, input_format, session))

    def play(self, part: ItemPart, audio: bytes) -> None:
        """Queue a piece of the model's speech. On the hot path."""
        if self._downlink is not None:
            audio = self._downlink.convert(audio)
        self._port.playout.push(part, audio)

    def finish(self, part: ItemPart) -> None:
        """No more audio of this part will come."""
        if self._downlink is not None:
            self._port.playout.push(part, self._downlink.flush())
        self._port.playout.finish(part)

    def clear(self) -> list[Heard]:
        """Be silent from the next frame on; returns what had not been heard to its end."""
        heard = self._port.playout.clear()
        if self._downlink is not None:
            self._downlink.reset()
        return heard

    def stats(self) -> MediaStats:
        return self._port.stats()

    def part(self) -> None:
        """Hand no more of the caller's audio to the session."""
        self._port.part()


def _uplink(
    spoken: AudioFormat, wanted: AudioFormat, session: TakesAudio
) -> Callable[[bytes], None]:
    if spoken == wanted:
        return session.append_audio
    transcoder = Transcoder(spoken, wanted)
    return lambda audio: session.append_audio(transcoder.convert(audio))
