"""A SIP caller as a leg.

The offer is looked at when the leg is made, so that a caller who cannot be served is told so before
anything else is tried; after that an answer can only fail for want of a port. With a late offer (an
INVITE without SDP) our 200 carries the offer and the ACK its answer.
"""

from dataclasses import replace
from typing import Final

from gateway.legs.leg import LegAnswered, LegError, MediaPort
from gateway.legs.rtp_port import FORMATS
from gateway.legs.sip_leg import MediaConfig, Signalling, SipLeg, warning_header
from gateway.sdp import answer as offer_answer
from gateway.sdp.description import SdpError, SessionDescription, parse
from gateway.sip.events import IncomingCall


class SipIncomingLeg(SipLeg):
    """One call that came in."""

    direction: Final = "inbound"

    def __init__(self, signalling: Signalling, incoming: IncomingCall, media: MediaConfig) -> None:
        super().__init__(
            signalling,
            media,
            dialog_id=incoming.dialog_id,
            peer_host=incoming.source.host,
            headers=incoming.headers,
            caller=incoming.from_uri,
            callee=incoming.to_uri,
        )
        self.fault: LegError | None = None
        """Why this caller cannot be served."""
        self._warning: str | None = None
        self._offered: SessionDescription | None = None  # None: late, the ACK brings the answer
        if incoming.offer is not None:
            self._look_at(incoming.offer)

    def ring(self) -> None:
        self._signalling.act(lambda agent, now: agent.ring(self.dialog_id, now))

    async def answer(self) -> MediaPort:
        port = await self._open_port()
        if self._offered is None:
            body = self._offer()
        else:
            description, plan = offer_answer.answer(self._offered, self._local)
            port.apply(plan, reachable=self._reachable(plan))
            body = self._described(description)
        self._signalling.act(lambda agent, now: agent.accept(self.dialog_id, body, now))
        return port

    def reject(self, status: int, retry_after_s: int | None = None) -> None:
        headers = warning_header(self._warning)
        if retry_after_s is not None:
            headers += (("Retry-After", str(retry_after_s)),)
        self._signalling.act(
            lambda agent, now: agent.reject(self.dialog_id, status, now, headers=headers)
        )

    def _look_at(self, offer: bytes) -> None:
        """Learn whether the offer can be served; tried with a port that stands for any."""
        try:
            self._offered = parse(offer)
            _, plan = offer_answer.answer(self._offered, replace(self._local, port=9))
            self._plan = self._checked(plan)
            if plan.remote_port == 0:
                raise SdpError("the offer takes its only audio away", status=488)
        except SdpError as error:
            self.fault = LegError(error.status, "unacceptable_media")
            self._warning = error.warning
        if self._plan is not None:
            self.codec = self._plan.codec
            self.format = FORMATS[self.codec]

    def _answered(self, body: bytes | None) -> None:
        """The ACK came."""
        if self._offered is None and not self._take_answer(body):
            return
        self._emit(LegAnswered())
