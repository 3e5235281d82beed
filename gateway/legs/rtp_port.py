"""The media port of a plain RTP leg: two sockets under an `AudioPort` that speaks G.711."""

import asyncio
import time
from collections.abc import Callable
from typing import cast

from gateway.audio import g711
from gateway.audio.formats import Law
from gateway.audio.g711_codec import G711Codec
from gateway.audio.tones import ToneKeys
from gateway.legs.audio_port import AudioPort, RtpFlow
from gateway.legs.leg import LegEvent, LegSilent
from gateway.legs.outlet import unheard
from gateway.legs.pacer import Pacer
from gateway.legs.ports import bind_udp
from gateway.rtp.config import RtpConfig
from gateway.rtp.latch import Source
from gateway.rtp.payload import G711
from gateway.rtp.session import RtpSession
from gateway.rtp.srtp import Opener, Seal
from gateway.sdp.crypto import SrtpKeys, Suite
from gateway.sdp.plan import AudioPlan


class RtpPort(AudioPort):
    """Media of one leg. `open` it, `apply` each plan that signalling agrees on, `close` it.

    Args:
        codec: what the call is joined in, for its whole life; the wire may change to the other law.
        packet_ms: how much audio a packet of ours carries.
        emit: is handed digits, marks, the caller's silence and a defect of ours.
        timeout_s: without a packet for this long the caller counts as gone.
        hears_tones: keys are also looked for in the audio.
    """

    def __init__(
        self,
        codec: Law,
        packet_ms: int,
        flow: RtpFlow,
        pacer: Pacer,
        emit: Callable[[LegEvent], None],
        timeout_s: float,
        *,
        hears_tones: bool = False,
    ) -> None:
        self._timeout_s = timeout_s
        self._g711 = G711Codec(codec, packet_ms)
        super().__init__(self._g711, G711, packet_ms, flow, pacer, emit)
        if hears_tones:
            self._ear = ToneKeys()
        self._plan: AudioPlan | None = None
        self._remote: tuple[str, int] | None = None
        self._reachable = True
        self._rtp_socket = _Datagrams(self._received)
        self._rtcp_socket = _Datagrams(self._received_rtcp)
        self._seal: Seal | None = None
        self._seals: dict[Suite, tuple[bytes, Seal]] = {}
        self._opener: Opener | None = None
        self._forged = 0
        self._srtp_keys: SrtpKeys | None = None
        self._heard_at = 0.0
        self._told_at = 0.0

    async def open(self, host: str, port: int) -> None:
        """Bind RTP to `port` and RTCP to the next one.

        Raises:
            OSError: one of them is taken.
        """
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self._rtp_socket, sock=bind_udp(host, port))
        await loop.create_datagram_endpoint(
            lambda: self._rtcp_socket, sock=bind_udp(host, port + 1)
        )

    def apply(self, plan: AudioPlan, *, reachable: bool = True, early: bool = False) -> None:
        """Do from now on what offer and answer agreed on.

        Unless the plan's address is `reachable` nothing is sent before the caller was heard, and
        then to where the caller's packets come from. What is `early`, before the answer, is heard,
        and nothing at all is sent.
        """
        self._plan = plan
        self._remote, rtcp_port = plan.target(self._remote)
        if plan.has_address:
            self._reachable = reachable
        config = RtpConfig(
            payload_type=plan.payload_type,
            dtmf_payload_types=plan.dtmf_payload_types,
            remote=self._remote,
            reachable=self._reachable,
            rtcp_mux=plan.rtcp_mux,
            remote_rtcp_port=rtcp_port,
            other_audio=g711.translations(plan.heard, plan.codec),
        )
        self._g711.wire(plan.codec)
        self._protect(plan.srtp)
        self._heard_at = time.monotonic()
        self._early = early
        self._agree(config, sends=plan.can_send and not early, receives=plan.can_receive)

    def close(self) -> None:
        """Say goodbye over RTCP and free the sockets."""
        super().close()
        self._rtp_socket.close()
        self._rtcp_socket.close()

    def dropped(self) -> dict[str, int]:
        """How many packets were not heard, by what was wrong with them: `forged` were not sealed
        with the peer's key, or came again; `source` came from elsewhere; `payload` was not agreed
        on; `malformed` was no RTP or RTCP."""
        stats = None if self._rtp is None else self._rtp.stats
        return {
            "forged": self._forged + (0 if self._opener is None else self._opener.forged),
            "source": 0 if stats is None else stats.dropped_source,
            "payload": 0 if stats is None else stats.dropped_payload,
            "malformed": 0 if stats is None else stats.malformed,
        }

    def _protect(self, keys: SrtpKeys | None) -> None:
        """Encrypt with these keys from now on. What goes on with its key goes on as it is: packet
        numbers must not begin anew, whatever came in between, such as another branch of a call
        that was forked."""
        before, self._srtp_keys = self._srtp_keys, keys
        if keys is None:
            self._seal = None
            self._open_with(None)
            self._rtp_socket.receive = self._received
            self._rtcp_socket.receive = self._received_rtcp
            return
        key, seal = self._seals.get(keys.suite, (b"", None))
        if seal is None or key != keys.sends:
            seal = Seal(keys.suite, keys.sends)
            self._seals[keys.suite] = keys.sends, seal
            self._be_young()
        self._seal = seal
        theirs = keys.suite, keys.receives, keys.mki
        if before is None or (before.suite, before.receives, before.mki) != theirs:
            self._open_with(Opener(keys.suite, keys.receives, self._opener, mki=keys.mki))
        self._rtp_socket.receive = self._received_sealed
        self._rtcp_socket.receive = self._received_sealed_rtcp

    def _be_young(self) -> None:
        """Begin a key of ours with numbers that all peers count alike.

        The count of wraps goes on under a new key (RFC 3711 section 3.3.1), but many peers begin it
        anew (see `rollover`), and then hear nothing of us. The count of another source begins at
        zero with all of them. We are one only where the numbers have wrapped, or might do so before
        the peer hears the first (RFC 4568 section 6.4): a peer may miss a moment of a new source.
        """
        rtp = self._rtp
        if rtp is None or rtp.sender.is_young:
            return
        draw = self._flow.random
        rtp.sender.become(ssrc=int(draw() * (1 << 32)), first_sequence=int(draw() * (1 << 15)))
        self._keys.let_go()

    def _open_with(self, opener: Opener | None) -> None:
        before, self._opener = self._opener, opener
        if before is not None:
            before.stand_alone()
            self._forged += before.forged

    def _received_sealed(self, data: bytes, source: Source) -> None:
        """Nothing is looked at, not even where it comes from, that the peer did not make."""
        packet = None if self._opener is None else self._opener.unprotect(data)
        if packet is not None:
            self._received(packet, source)

    def _received_sealed_rtcp(self, data: bytes, source: Source) -> None:
        report = None if self._opener is None else self._opener.unprotect(data)
        if report is not None:
            self._received_rtcp(report, source)

    def _transmit(self, packet: bytes, remote: tuple[str, int]) -> None:
        if self._seal is not None:
            packet = self._seal.protect(packet)
        self._rtp_socket.send(packet, remote)

    def _transmit_report(self, report: bytes) -> None:
        rtp, plan = self._rtp, self._plan
        if rtp is None or plan is None or not plan.has_address:
            return
        remote = rtp.remote_rtcp
        if remote is not None:
            if self._seal is not None:
                report = self._seal.protect_rtcp(report)
            (self._rtp_socket if plan.rtcp_mux else self._rtcp_socket).send(report, remote)

    def _slow_tick(self, rtp: RtpSession, now: float) -> None:
        super()._slow_tick(rtp, now)
        plan = self._plan
        if rtp.last_received is not None:
            self._heard_at = max(self._heard_at, rtp.last_received)
        if plan is not None and (self._early or not (plan.can_send and plan.can_receive)):
            self._heard_at = now  # nobody has to send on hold, or before the answer
        if now - max(self._heard_at, self._told_at) > self._timeout_s:
            self._told_at = now
            self._emit(LegSilent())


class _Datagrams(asyncio.DatagramProtocol):
    """One socket: hands datagrams on, and sends.

    It may be closed before it was opened: a call that ends while its port is being opened leaves
    an event loop behind that still opens the socket.
    """

    def __init__(self, receive: Callable[[bytes, tuple[str, int]], None]) -> None:
        self.receive = receive
        """Takes each datagram and where it came from."""
        self._transport: asyncio.DatagramTransport | None = None
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do what asyncio.DatagramTransport declares without being one.
        self._transport = cast(asyncio.DatagramTransport, transport)
        if self._closed:
            transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.receive(data, addr)

    def error_received(self, exc: Exception) -> None:
        """An ICMP error: the caller's port is closed. Their silence is noticed by its time-out."""

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        if self._transport is not None:
            self._transport.sendto(data, to)

    def close(self) -> None:
        self._closed = True
        self.receive = unheard
        if self._transport is not None:
            self._transport.close()
            self._transport = None
