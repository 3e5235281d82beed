"""The audio road of a call: the media port and the session, joined by at most two transcoders.

    port ──► tape, uplink ──► session.append_audio
    session ──► downlink ──► playout of the port

Sessions come and go, the port stays: what is queued in its playout is heard whatever becomes of the
session that sent it. Nothing here decides whose audio is wanted; the conversation does.
"""

from collections.abc import Callable
from typing import Protocol

from gateway.audio.formats import AudioFormat
from gateway.audio.playout import Heard, ItemPart
from gateway.audio.transcode import Transcoder
from gateway.calls.sounds import Sounds
from gateway.calls.tape import Tape
from gateway.legs.leg import MediaPort, MediaStats


class TakesAudio(Protocol):
    """The session, as the caller's audio sees it."""

    @property
    def input_format(self) -> AudioFormat: ...

    @property
    def output_format(self) -> AudioFormat: ...

    def append_audio(self, audio: bytes) -> None: ...


class CallMedia:
    """The port of a call from the moment it is open.

    Args:
        tape: is given all that the caller says.
        sounds: what can be heard that no session sent.
    """

    def __init__(self, port: MediaPort, tape: Tape, sounds: Sounds) -> None:
        self._port = port
        self._tape = tape
        self._sounds = sounds
        self._downlink: Transcoder | None = None

    def join(self, session: TakesAudio) -> None:
        """From now on the caller's audio goes to this session, and its speech can be played."""
        spoken = self._port.format
        self._downlink = None
        if session.output_format != spoken:
            self._downlink = Transcoder(session.output_format, spoken)
        self._port.join(_uplink(spoken, session, self._tape.push))

    def wait(self) -> None:
        """There is no session: the caller's audio is only kept."""
        self._port.join(self._tape.push)

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

    def background(self, sound: str) -> None:
        """What is heard while nobody speaks: `comfort`, `filler`, or nothing at all."""
        self._port.playout.background = self._sounds.loop(sound, self._port.format)

    def apologise(self, part: ItemPart) -> None:
        """Say the recorded apology, as this part."""
        playout = self._port.playout
        playout.push(part, self._sounds.apology(self._port.format))
        playout.finish(part)

    def stats(self) -> MediaStats:
        return self._port.stats()

    def part(self) -> None:
        """Hand no more of the caller's audio to anybody."""
        self._port.part()


def _uplink(
    spoken: AudioFormat, session: TakesAudio, keep: Callable[[bytes], None]
) -> Callable[[bytes], None]:
    append = session.append_audio
    if spoken == session.input_format:

        def pass_on(audio: bytes) -> None:
            keep(audio)
            append(audio)

        return pass_on
    convert = Transcoder(spoken, session.input_format).convert

    def transcode(audio: bytes) -> None:
        keep(audio)
        append(convert(audio))

    return transcode
