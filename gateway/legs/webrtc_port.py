"""The media port of a peer connection: an `AudioPort` whose packets ICE and DTLS-SRTP carry.

ICE has proved where the peer is, so all that comes through the connection is the peer's: for the
RTP session it has one fixed source. Silence of a peer is no reason to hang up either: consent,
which ICE asks for every few seconds (RFC 7675), tells better than RTP whether anybody is there.
"""

from collections.abc import Callable
from typing import Final

from gateway.audio.codec import Codec
from gateway.legs.audio_port import AudioPort, RtpFlow
from gateway.legs.leg import LegEvent
from gateway.legs.leg_media import PACKET_MS
from gateway.legs.pacer import Pacer
from gateway.rtp.config import RtpConfig
from gateway.rtp.latch import Source
from gateway.rtp.payload import PayloadFormat
from gateway.rtp.session import RtpSession
from gateway.sdp.webrtc import WebRtcPlan
from gateway.webrtc.peer import Peer

_PEER: Final[Source] = ("192.0.2.1", 9)  # stands for wherever ICE found the peer


class WebRtcPort(AudioPort):
    """Media of one peer connection, from when that is `connected` and a plan was applied. What is
    in the playout waits until then: nothing of it would be heard."""

    def __init__(
        self,
        peer: Peer,
        codec: Codec,
        payload: PayloadFormat,
        flow: RtpFlow,
        pacer: Pacer,
        emit: Callable[[LegEvent], None],
    ) -> None:
        super().__init__(codec, payload, PACKET_MS, flow, pacer, emit)
        self._peer = peer
        self._plan: WebRtcPlan | None = None
        self._is_connected = False

    def apply(self, plan: WebRtcPlan) -> None:
        """Do from now on what offer and answer agreed on."""
        self._plan = plan
        if self._is_connected:
            self._begin(plan)

    def connected(self) -> None:
        """What is sent from now on arrives."""
        self._is_connected = True
        if self._plan is not None:
            self._begin(self._plan)

    def _begin(self, plan: WebRtcPlan) -> None:
        config = RtpConfig(
            payload_type=plan.payload_type,
            dtmf_payload_types=plan.dtmf_payload_types,
            dtmf_clock_hz=plan.dtmf_clock_hz,
            remote=_PEER,
            consented=True,
            rtcp_mux=True,
        )
        self._agree(config, sends=plan.can_send, receives=plan.can_receive)

    def received(self, data: bytes) -> None:
        """An RTP packet of the peer, decrypted."""
        self._received(data, _PEER)

    def received_rtcp(self, data: bytes) -> None:
        """An RTCP packet of the peer, decrypted."""
        self._received_rtcp(data, _PEER)

    def _transmit(self, packet: bytes, remote: Source) -> None:
        self._peer.send_rtp(packet)

    def _transmit_report(self, report: bytes) -> None:
        self._peer.send_rtcp(report)

    def _slow_tick(self, rtp: RtpSession, now: float) -> None:
        super()._slow_tick(rtp, now)
        loss = rtp.news_of_loss()
        if loss is not None:
            self._codec.reported_loss(loss)
