"""All WebRTC callers of one run: offers over HTTP, and encrypted audio."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pylibsrtp
from aioice.ice import get_host_addresses

from bench.callers import TICKS_PER_RETRY, Callers, Placed
from bench.coding import CODINGS
from bench.peer import Identity, Peer, addressee
from bench.sockets import bound, stamped
from bench.stream import Stream

_POSTS = 4
"""At a time."""
_POST_TIMEOUT_S = 10.0


def own_host() -> str:
    """An address of this machine besides loopback, at which aiortc would not listen.

    Raises:
        OSError: it has none.
    """
    found = get_host_addresses(use_ipv4=True, use_ipv6=False)
    if not found:
        raise OSError("this machine has no IPv4 address besides loopback")
    return found[0]


class SecureStream:
    """One call's packets, as they are on the way: SRTP, and what shares its port (RFC 7983).

    Args:
        stream: starts when the peer is up.
        other: is handed all but RTP.
    """

    def __init__(self, peer: Peer, stream: Stream, other: Callable[[bytes], None]) -> None:
        self.remote = stream.remote
        self.stream = stream
        self._peer = peer
        self._other = other

    def next_packets(self, measured: bool) -> list[bytes]:
        protect = self._peer.outbound.protect
        return [protect(packet) for packet in self.stream.next_packets(measured)]

    def report(self) -> bytes:
        """An RTCP packet to send."""
        return self._peer.outbound.protect_rtcp(self.stream.report())

    def receive(self, data: bytes, arrival_ns: int, measured: bool) -> None:
        if not 128 <= data[0] <= 191 or 192 <= data[1] <= 223:  # RFC 5761 section 4
            self._other(data)
        elif self._peer.state == "up":
            try:
                packet = self._peer.inbound.unprotect(data)
            except pylibsrtp.Error:
                return  # is missing then
            self.stream.receive(packet, arrival_ns, measured)


class Browsers(Callers):
    """Calls over WebRTC in one codec, without keys.

    Args:
        url: where an offer is posted to, and answered.
        codec: `pcmu` or `opus`.
    """

    def __init__(self, calls: int, url: str, codec: str) -> None:
        audio = stamped(bound(own_host()))
        super().__init__(calls, audio)
        self._url = url
        self._codec = codec
        identity, local = Identity(), audio.getsockname()
        self._peers = [Peer(codec, local, identity) for _ in range(calls)]
        self._by_ufrag = {peer.ufrag: peer for peer in self._peers}
        self._answers: dict[int, SecureStream] = {}
        """By number, of the calls that were answered."""
        self._pool = ThreadPoolExecutor(_POSTS)
        self._posts: dict[int, Future[str]] = {}

    @property
    def placed(self) -> Sequence[Placed]:
        return self._peers

    def place(self, number: int, now_ns: int) -> None:
        offer = self._peers[number].offer(now_ns)
        self._posts[number] = self._pool.submit(_post, self._url, offer)

    def hang_up(self, number: int, now_ns: int) -> None:
        self.media[number] = None
        self._send(number, self._peers[number].hang_up())

    def tick(self, now_ns: int) -> None:
        for number in [number for number, post in self._posts.items() if post.done()]:
            self._answered(number, self._posts.pop(number), now_ns)
        for turn in self._reports_due():
            number = turn % len(self._peers)
            if self.media[number] is not None:
                self._send(number, [self._answers[number].report()])
        if self._ticks % TICKS_PER_RETRY == 0:
            for number, peer in enumerate(self._peers):
                self._send(number, peer.tick(now_ns))

    def stray(self, data: bytes, source: tuple[str, int]) -> None:
        """The gateway's first check overtakes its answer, and is answered all the same (RFC 8445
        section 7.3): it is sent again only half a second later."""
        peer = self._by_ufrag.get(addressee(data))
        if peer is not None:
            for datagram in peer.receive(data, source, time.monotonic_ns()):
                self.audio.sendto(datagram, source)

    def _answered(self, number: int, post: Future[str], now_ns: int) -> None:
        peer = self._peers[number]
        try:
            answer = post.result()
        except OSError as error:
            peer.fail(f"the offer was not answered: {error}")
            return
        first = peer.take_answer(answer, now_ns)
        if peer.state != "calling":
            return
        stream = Stream(number, peer.remote, CODINGS[self._codec](), keys=False)
        media = SecureStream(peer, stream, partial(self._other, number))
        self._answers[number] = self.receivers[peer.remote[1]] = media
        self._send(number, first)

    def _other(self, number: int, data: bytes) -> None:
        """STUN, DTLS or RTCP came."""
        if data[0] >= 128:
            self.control_received += 1
            return
        peer = self._peers[number]
        before = peer.state
        self._send(number, peer.receive(data, peer.remote, time.monotonic_ns()))
        if peer.state == "up" and before != "up":
            self._came_up(number, self._answers[number], self._answers[number].stream)
        elif peer.state == "failed":
            self.media[number] = None

    def _send(self, number: int, datagrams: list[bytes]) -> None:
        for datagram in datagrams:
            self.audio.sendto(datagram, self._peers[number].remote)


def _post(url: str, offer: str) -> str:
    """The answer to an offer.

    Raises:
        OSError: there is none.
    """
    headers = {"Content-Type": "application/sdp"}
    request = urllib.request.Request(url, offer.encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=_POST_TIMEOUT_S) as response:
            return str(response.read(), "utf-8")
    except urllib.error.HTTPError as error:
        raise OSError(f"{error.code} {error.read(200).decode('utf-8', 'replace')}") from None
