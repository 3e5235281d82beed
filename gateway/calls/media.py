"""The audio road of a call: the media port and the session, joined by at most two transcoders.

    port ──► tape, uplink ──► session.append_audio
    session ──► downlink ──► playout of the port

Bridged with a second port, each is sent what the other hears, and a session gets the sum of both:

    port ──► feed ──► second port ──► feed ──► port
       └──────► mixer ◄─────┘
                  └──► session.append_audio

Sessions come and go, the port stays: what is queued in its playout is heard whatever becomes of the
session that sent it. Nothing here decides whose audio is wanted; the conversation does.
"""

from collections.abc import Callable
from typing import Protocol

from gateway.audio.formats import AudioFormat
from gateway.audio.live import EarlyMedia, LiveFeed, Mixer
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
        self._before = MediaStats()  # of ports that the call has left
        self._kept = port.format  # as the tape wants it
        self._keep: Callable[[bytes], None] = tape.push
        self._tape = tape
        self._sounds = sounds
        self._downlink: Transcoder | None = None
        self._session: TakesAudio | None = None
        self._second: MediaPort | None = None
        self._calling: MediaPort | None = None  # of whom we call, until that rings
        self._sound = ""
        self._rings = False

    @property
    def is_bridged(self) -> bool:
        """Whether the caller hears another leg, and no session."""
        return self._second is not None

    def join(self, session: TakesAudio) -> None:
        """From now on the caller's audio goes to this session, and its speech can be played."""
        self._session = session
        if self._second is not None:
            self._connect(self._second)
            return
        spoken = self._port.format
        self._downlink = None
        if session.output_format != spoken:
            self._downlink = Transcoder(session.output_format, spoken)
        self._port.join(_uplink(spoken, session, self._keep))

    def wait(self) -> None:
        """There is no session: the caller's audio is only kept."""
        self._session = None
        if self._second is not None:
            self._connect(self._second)
        else:
            self._port.join(self._keep)

    def overhear(self, second: MediaPort) -> None:
        """While it rings there, what comes from this port is heard instead of our ringing."""
        self._calling = second

    def bridge(self, second: MediaPort, *, listens: bool) -> None:
        """From now on both ports hear each other; the session, if it `listens`, hears both."""
        self.clear()
        self._second = second
        if not listens:
            self._session = None
        self._connect(second)

    @property
    def port(self) -> MediaPort:
        return self._port

    def release(self) -> MediaPort:
        """The port, for another call; it is silent, and nothing of it comes here any more."""
        self.clear()
        self._port.part()
        self._port.playout.background = None
        return self._port

    def move(self, port: MediaPort) -> list[Heard]:
        """Go on with another port; returns what had not been heard to its end on this one."""
        heard = self.clear()
        self._port.part()
        self._before = self.stats()
        self._port = port
        self._keep = _kept(port.format, self._kept, self._tape)
        if self._session is not None:
            self.join(self._session)
        else:
            self.wait()
        self.background(self._sound)
        return heard

    def _connect(self, second: MediaPort) -> None:
        """Each is sent what the other hears."""
        port, session = self._port, self._session
        to_second = LiveFeed(port.format, second.format)
        to_first = LiveFeed(second.format, port.format)
        port.playout.background, second.playout.background = to_first, to_second
        for one in (port, second):
            one.hear_music(session is None)  # people want it, agents take it for speech
        if session is None:
            port.join(to_second.push)
            second.join(to_first.push)
            return
        mixer = Mixer(port.format, second.format, session.input_format, session.append_audio)
        port.join(_both(to_second.push, _both(self._keep, mixer.first)))
        second.join(_both(to_first.push, mixer.second))

    def play(self, part: ItemPart, audio: bytes) -> None:
        """Queue a piece of the model's speech. On the hot path."""
        if self._second is not None:
            return
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
        self._sound = sound
        if self._second is None and not self._rings:
            self._port.playout.background = self._sounds.loop(sound, self._port.format)

    def ring_back(self, on: bool) -> None:
        """Let it be heard instead that it rings elsewhere."""
        self._rings = on
        calling, self._calling = self._calling, None
        if not on:
            self.background(self._sound)
            return
        spoken = self._port.format
        ringing = self._sounds.loop("ringback", spoken)
        self._port.playout.background = ringing
        if calling is not None and ringing is not None:
            early = EarlyMedia(
                calling.format, spoken, ringing, lambda: calling.stats().rtp_received
            )
            calling.join(early.push)
            self._port.playout.background = early

    def apologise(self, part: ItemPart) -> None:
        """Say the recorded apology, as this part."""
        if self._second is not None:
            return
        playout = self._port.playout
        playout.push(part, self._sounds.apology(self._port.format))
        playout.finish(part)

    def stats(self) -> MediaStats:
        """Of all ports that the call has had."""
        return _together(self._before, self._port.stats())

    def part(self) -> None:
        """Hand no more of the caller's audio to anybody."""
        self._port.part()
        if self._second is not None:
            self._second.part()


def _kept(spoken: AudioFormat, kept: AudioFormat, tape: Tape) -> Callable[[bytes], None]:
    if spoken == kept:
        return tape.push
    convert = Transcoder(spoken, kept).convert
    return lambda audio: tape.push(convert(audio))


def _together(one: MediaStats, other: MediaStats) -> MediaStats:
    """Counters add up; what was estimated weighs as much as there was of it."""
    received = one.rtp_received + other.rtp_received
    share = one.rtp_received / received if received else 0.0
    if one.mos is None or other.mos is None:
        mos = other.mos if one.mos is None else one.mos
    else:
        mos = round(share * one.mos + (1 - share) * other.mos, 2)
    return MediaStats(
        rtp_received=received,
        rtp_sent=one.rtp_sent + other.rtp_sent,
        rtp_lost=one.rtp_lost + other.rtp_lost,
        jitter_ms=share * one.jitter_ms + (1 - share) * other.jitter_ms,
        mos=mos,
    )


def _both(one: Callable[[bytes], None], other: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def pass_on(audio: bytes) -> None:
        one(audio)
        other(audio)

    return pass_on


def _uplink(
    spoken: AudioFormat, session: TakesAudio, keep: Callable[[bytes], None]
) -> Callable[[bytes], None]:
    append = session.append_audio
    if spoken == session.input_format:
        return _both(keep, append)
    convert = Transcoder(spoken, session.input_format).convert

    def transcode(audio: bytes) -> None:
        keep(audio)
        append(convert(audio))

    return transcode
