"""All callers of one run, beside their audio: how calls come about and end.

The load generator drives them: it places calls one after the other, gives them a turn each
millisecond, sends what `streams` have, and hands what comes in to `receivers`.
"""

import os
import socket
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from bench.caller import Caller, parse
from bench.coding import PcmuCoding
from bench.sockets import HOST, bound, media_pair
from bench.stream import Stream

TICKS_PER_REPORT = 5000
TICKS_PER_RETRY = 50


class Media(Protocol):
    """One call's packets."""

    remote: tuple[str, int]

    def next_packets(self, measured: bool) -> list[bytes]:
        """Those of the next 20 ms."""

    def receive(self, data: bytes, arrival_ns: int, measured: bool) -> None:
        """A packet came from `remote` at this unix time."""


class Placed(Protocol):
    """What came of one call."""

    state: str
    """`idle`, `calling`, `up`, `ending`, `over`, or `failed`."""
    failure: str
    setup_ns: int


class Callers(ABC):
    """So many calls, as yet unplaced. Times are nanoseconds of the monotonic clock.

    Args:
        audio: the one socket of all audio; a call is told by the other side's port.
    """

    def __init__(self, calls: int, audio: socket.socket) -> None:
        self.audio = audio
        self.media: list[Media | None] = [None] * calls
        """Of the calls that are up now."""
        self.receivers: dict[int, Media] = {}
        """By the other side's port."""
        self.streams: list[Stream] = []
        """Of all calls that were up."""
        self.control_received = 0
        """RTCP packets."""
        self._ticks = 0

    @abstractmethod
    def place(self, number: int, now_ns: int) -> None:
        """Begin a call."""

    @abstractmethod
    def tick(self, now_ns: int) -> None:
        """A millisecond has passed."""

    @abstractmethod
    def hang_up(self, number: int, now_ns: int) -> None:
        """End a call, if it is up."""

    @abstractmethod
    def stray(self, data: bytes, source: tuple[str, int]) -> None:
        """A packet came that is of no call known so far."""

    @property
    @abstractmethod
    def placed(self) -> Sequence[Placed]:
        """All calls; none where there is no signalling."""

    @property
    def failures(self) -> Counter[str]:
        """Why calls failed, or what they still wait for."""
        return Counter(
            one.failure if one.state == "failed" else one.state
            for one in self.placed
            if one.state in ("failed", "calling", "ending")
        )

    def waits_in(self, state: str) -> bool:
        """Whether any call is in this state."""
        return any(one.state == state for one in self.placed)

    def _reports_due(self) -> range:
        """Turns of the calls whose RTCP report is due in this millisecond: each has one every five
        seconds, one call after the other."""
        count = len(self.media)
        first = self._ticks * count // TICKS_PER_REPORT
        self._ticks += 1
        return range(first, self._ticks * count // TICKS_PER_REPORT)

    def _came_up(self, number: int, media: Media, stream: Stream) -> None:
        self.receivers[media.remote[1]] = self.media[number] = media
        self.streams.append(stream)


class Unsignalled(Callers):
    """RTP straight to these ports."""

    placed = ()

    def __init__(self, ports: Sequence[int], *, keys: bool) -> None:
        super().__init__(len(ports), media_pair()[0])
        self._ports = ports
        self._keys = keys

    def place(self, number: int, now_ns: int) -> None:
        stream = Stream(number, (HOST, self._ports[number]), PcmuCoding(), keys=self._keys)
        self._came_up(number, stream, stream)

    def tick(self, now_ns: int) -> None:
        """There is nothing but audio."""

    def stray(self, data: bytes, source: tuple[str, int]) -> None:
        """It is somebody else's."""

    def hang_up(self, number: int, now_ns: int) -> None:
        self.media[number] = None


class Phones(Callers):
    """Calls over SIP, all from one port, with PCMU and RTCP.

    Args:
        sip_port: the gateway's, on UDP.
        keys: press a key on each call every five seconds.
    """

    def __init__(self, calls: int, sip_port: int, *, keys: bool) -> None:
        audio, self._control = media_pair()
        super().__init__(calls, audio)
        self._sip = bound()
        self._gateway = (HOST, sip_port)
        self._keys = keys
        local, audio_port = self._sip.getsockname(), audio.getsockname()[1]
        run = f"{os.getpid()}-{audio_port}"
        self._callers = [
            Caller(number, run, local, self._gateway, audio_port) for number in range(calls)
        ]
        self._numbers = {caller.call_id: at for at, caller in enumerate(self._callers)}
        self._streams: dict[int, Stream] = {}

    @property
    def placed(self) -> Sequence[Placed]:
        return self._callers

    def place(self, number: int, now_ns: int) -> None:
        self._send(self._callers[number].invite(now_ns))

    def hang_up(self, number: int, now_ns: int) -> None:
        self.media[number] = None
        self._send(self._callers[number].hang_up(now_ns))

    def tick(self, now_ns: int) -> None:
        self._receive()
        for turn in self._reports_due():
            number = turn % len(self._callers)
            if self.media[number] is not None:
                report = self._streams[number].report()
                self._control.sendto(report, self._callers[number].control)
        self._receive_reports()
        if self._ticks % TICKS_PER_RETRY == 0:
            for caller in self._callers:
                self._send(caller.tick(now_ns))

    def stray(self, data: bytes, source: tuple[str, int]) -> None:
        """It came before the answer to our INVITE did, so it cannot be told whose it is."""

    def _receive(self) -> None:
        for _ in range(100):
            try:
                data = self._sip.recv(65535)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier packet
            message = parse(data)
            number = self._numbers.get(message.headers["call-id"]) if message else None
            if message is None or number is None:
                continue
            caller = self._callers[number]
            was_up = caller.state == "up"
            self._send(caller.receive(message, time.monotonic_ns()))
            if caller.state == "up" and not was_up:
                stream = Stream(number, caller.media, PcmuCoding(), keys=self._keys)
                self._streams[number] = stream
                self._came_up(number, stream, stream)
            elif was_up and caller.state == "failed":
                self.media[number] = None

    def _receive_reports(self) -> None:
        try:
            while self._control.recv(2048):
                self.control_received += 1
        except OSError:
            return

    def _send(self, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            self._sip.sendto(datagram, self._gateway)
