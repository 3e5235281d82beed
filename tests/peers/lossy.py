"""A caller over WebRTC whose frames are numbered, and a network that loses some of them.

The caller is aiortc, through its public interface. It speaks PCMU, each frame a level of its own,
so that what is heard at the other end tells which frames were played, and when. The network is a
UDP relay in the path of the media: what it lets pass has been received, and the rest is lost.
"""

import asyncio
import fractions
import itertools
import random
import re
import statistics
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import Packet

FRAME_S, FRAME_SAMPLES = 0.02, 160
SKIPPED_FRAMES = 25
"""Of the first frames that are heard: a path may need a moment to settle."""
_LEVELS = bytes((*range(0x70), *range(0x80, 0xF0)))  # codes of mu-law that are not close to silence
_LEAST_SAMPLES = FRAME_SAMPLES // 2
"""Of one level in a row: shorter ones are what concealment makes at the seams."""
_CANDIDATE = re.compile(r"^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host.*$", re.MULTILINE | re.I)

Answer = Callable[[str], Awaitable[str]]
"""Takes an offer to the other end, and returns what is answered."""


class Network:
    """A UDP relay to one server. Use as an asynchronous context manager.

    Args:
        host: an address of this machine, for the caller's side.
        server: where packets go.
        loss: the share of RTP packets that do not come there.
    """

    def __init__(self, host: str, server: tuple[str, int], loss: float, seed: int) -> None:
        self.received: set[int] = set()
        """Numbers of the RTP packets that came there: 0 is the first that was sent."""
        self._host, self._server, self._loss = host, server, loss
        self._random = random.Random(seed)
        self._caller: tuple[str, int] | None = None
        self._first: int | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._front, _ = await loop.create_datagram_endpoint(
            lambda: _Side(self._from_caller), (self._host, 0)
        )
        self._back, _ = await loop.create_datagram_endpoint(
            lambda: _Side(self._from_server), remote_addr=self._server
        )
        self.address: tuple[str, int] = self._front.get_extra_info("sockname")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._front.close()
        self._back.close()

    def _from_caller(self, data: bytes, source: tuple[str, int]) -> None:
        self._caller = source
        if 0x80 <= data[0] < 0xC0 and not 192 <= data[1] <= 223:  # RTP, and no RTCP (RFC 5761)
            sequence = int.from_bytes(data[2:4])
            if self._first is None:
                self._first = sequence
            if self._random.random() < self._loss:
                return
            self.received.add((sequence - self._first) % 65_536)
        self._back.sendto(data)

    def _from_server(self, data: bytes, _: tuple[str, int]) -> None:
        if self._caller is not None:
            self._front.sendto(data, self._caller)


class _Side(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, tuple[str, int]], None]) -> None:
        self.datagram_received = received  # type: ignore[method-assign, assignment]


class NumberedTrack(MediaStreamTrack):
    """Frames that are told apart by what is in them, one each 20 ms."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.sent_at_s: list[float] = []

    async def recv(self) -> "Packet[Any]":
        loop = asyncio.get_running_loop()
        number = len(self.sent_at_s)
        begun_s = self.sent_at_s[0] if number else loop.time()
        await asyncio.sleep(begun_s + number * FRAME_S - loop.time())
        if self.readyState != "live":
            raise MediaStreamError
        packet = Packet(_LEVELS[number % len(_LEVELS) :][:1] * FRAME_SAMPLES)
        packet.pts, packet.time_base = number * FRAME_SAMPLES, fractions.Fraction(1, 8000)
        self.sent_at_s.append(loop.time())
        return packet


@dataclass
class Heard:
    """What was heard of the numbered frames at the other end."""

    at_s: dict[int, float] = field(default_factory=dict)
    """Frame, and when the audio came that it begins in."""
    _level: int = -1
    _samples: int = 0
    _begun_s: float = 0.0
    _last: int = 0

    def add(self, audio: bytes, at_s: float) -> None:
        """Audio in mu-law, in order."""
        for level, run in itertools.groupby(audio):
            if level != self._level:
                self._level, self._samples, self._begun_s = level, 0, at_s
            self._samples += len(list(run))
            if self._samples >= _LEAST_SAMPLES and level in _LEVELS:
                ahead = (_LEVELS.index(level) - self._last) % len(_LEVELS)
                if ahead < len(_LEVELS) // 2:  # the others were repeated to hide a loss
                    self._last += ahead
                    self.at_s.setdefault(self._last, self._begun_s)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One call."""

    received: int
    """Frames that the network let pass."""
    played: int
    """Of these, those that were heard."""
    delays_s: list[float]
    """Of each of those, from when it was sent."""

    @property
    def share(self) -> float:
        """Of what was received, what was played."""
        return self.played / self.received

    @property
    def mean_delay_s(self) -> float:
        return statistics.fmean(self.delays_s)

    @classmethod
    def of(cls, track: NumberedTrack, network: Network, heard: Heard) -> Self:
        first = min(heard.at_s, default=0) + SKIPPED_FRAMES
        last = max(heard.at_s, default=0) - SKIPPED_FRAMES  # what comes behind may be on its way
        received = [number for number in network.received if first <= number <= last]
        played = [number for number in received if number in heard.at_s]
        delays_s = [heard.at_s[number] - track.sent_at_s[number] for number in played]
        return cls(len(received), len(played), delays_s)


def together(outcomes: list[Outcome]) -> Outcome:
    """Several calls as one."""
    return Outcome(
        sum(one.received for one in outcomes),
        sum(one.played for one in outcomes),
        [delay for one in outcomes for delay in one.delays_s],
    )


def told(name: str, loss: float, outcome: Outcome) -> str:
    """A line of a table."""
    cuts = [1000 * cut for cut in statistics.quantiles(outcome.delays_s, n=100)]
    return (
        f"{name:14} {loss:4.0%} lost: {outcome.share:7.2%} of {outcome.received} received frames "
        f"played, delay mean {1000 * outcome.mean_delay_s:5.1f} ms, "
        f"p50 {cuts[49]:5.1f}, p95 {cuts[94]:5.1f}, p99 {cuts[98]:5.1f}"
    )


async def call(
    answer: Answer,
    heard: Heard,
    loss: float,
    seed: int,
    duration_s: float,
    told: Callable[[], None] = lambda: None,
) -> Outcome:
    """Place a call that lasts so long.

    Args:
        heard: kept by whoever has the other end, or written in `told`, when the call is over.
    """
    caller, track = RTCPeerConnection(), NumberedTrack()
    try:
        transceiver = caller.addTransceiver(track, "sendrecv")
        codecs = RTCRtpSender.getCapabilities("audio").codecs
        transceiver.setCodecPreferences([one for one in codecs if one.mimeType == "audio/PCMU"])
        await caller.setLocalDescription(await caller.createOffer())
        offer = caller.localDescription.sdp
        found = _CANDIDATE.search(offer)
        assert found is not None, f"aiortc has no address to call from: {offer}"
        answered = await answer(_without_candidates(offer))
        target = _CANDIDATE.search(answered)
        assert target is not None, f"there is no address to call: {answered}"
        async with Network(found[1], (target[1], int(target[2])), loss, seed) as network:
            host, port = network.address
            only = f"a=candidate:1 1 udp 2130706431 {host} {port} typ host\r\n"
            first, medium, rest = _without_candidates(answered).partition("m=audio ")
            head, line, tail = rest.partition("a=ice-ufrag:")
            rewritten = first + medium + head + only + line + tail
            await caller.setRemoteDescription(RTCSessionDescription(rewritten, "answer"))
            await asyncio.sleep(duration_s)
            track.stop()
            await asyncio.sleep(1)  # what is still on its way
            await caller.close()
            told()
            return Outcome.of(track, network, heard)
    finally:
        await caller.close()


def _without_candidates(sdp: str) -> str:
    lines = sdp.splitlines(keepends=True)
    return "".join(
        one for one in lines if not one.startswith(("a=candidate", "a=end-of-candidates"))
    )
