"""Somebody whom we call over SIP, as a leg.

Media is open before the INVITE leaves, because the callee may speak as soon as it has answered. It
starts with the answer. Early media of a 183 is heard by setting, and never sent any.

The offer has both laws, and the call is joined in PCMU whichever the callee takes; the port
translates, since the Realtime session is there before anybody has answered.
"""

import contextlib
from dataclasses import dataclass
from typing import Final

from gateway.legs.leg import LegEnded, LegError, MediaPort
from gateway.legs.leg_media import MediaConfig
from gateway.legs.plain_media import PlainMedia
from gateway.legs.sip_leg import Signalling, SipLeg
from gateway.sdp.description import SdpError
from gateway.sip.agent import SipAgent
from gateway.sip.auth import Credentials
from gateway.sip.message import Address
from gateway.sip.uri import SipUri

_PORT, _TLS_PORT = 5060, 5061


@dataclass(frozen=True, slots=True)
class DialPlan:
    """Whom to call, and as whom."""

    target: str
    """A sip URI, which becomes the Request-URI."""
    from_uri: str
    hop: Address | None = None
    """Where the INVITE is sent, host names allowed; None sends it where the target says: to its
    port or 5060, over its transport parameter or UDP (of RFC 3263 no more than this is done)."""
    credentials: Credentials | None = None
    """For a callee, or a proxy on the way, that asks who we are."""


class SipOutgoingLeg(SipLeg):
    """One call of ours."""

    direction: Final = "outbound"

    def __init__(self, signalling: Signalling, plan: DialPlan, media: MediaConfig) -> None:
        super().__init__(signalling, media, caller=plan.from_uri, callee=plan.target)
        self._dial_plan = plan

    async def dial(self) -> MediaPort:
        to = await self._signalling.locate(_hop(self._dial_plan))
        self._media = PlainMedia(self._config, to.host, self._media_event, private=to.is_private)
        port = await self._open_media()
        try:
            self._invite(to)
        except LegError:
            await self._media.close()
            raise
        return port

    def hang_up(self) -> None:
        super().hang_up()
        if not self.dialog_id:
            self._emit(LegEnded("cancelled"))

    def _invite(self, to: Address) -> None:
        plan, body = self._dial_plan, self._media.offer()

        def invite(agent: SipAgent, now: float) -> str:
            return agent.invite(
                plan.target,
                body,
                now,
                to=to,
                from_uri=plan.from_uri,
                credentials=plan.credentials,
            )

        try:
            self._signalling.place(self, invite)
        except ValueError as error:
            raise LegError(400, "bad_target") from error

    def _answered(self, body: bytes | None) -> None:
        """The 2xx came, and was acknowledged."""
        if self._take_answer(body):
            self._answered_by_both()

    def _rings(self, status: int, body: bytes | None) -> None:
        media = self._media
        if body and self._config.hears_early and isinstance(media, PlainMedia):
            with contextlib.suppress(SdpError):  # the answer decides whether it can be used
                media.hear_early(body)
        super()._rings(status, body)


def _hop(plan: DialPlan) -> Address:
    """Where the plan's INVITE goes. Raises LegError."""
    try:
        target = SipUri.parse(plan.target)
    except ValueError as error:
        raise LegError(400, "bad_target") from error
    hop = plan.hop or hop_of(target)
    if hop.transport not in ("udp", "tcp", "tls") or not 0 < hop.port < 65_536:
        raise LegError(400, "bad_target")
    return hop


def hop_of(target: SipUri) -> Address:
    """Where a URI says that it is reached, its host as it is."""
    transport = (target.param("transport") or "udp").lower()
    if target.scheme == "sips" or transport == "tls":
        port = _TLS_PORT if target.port is None else target.port
        return Address(target.host, port, "tls", target.host)
    return Address(target.host, _PORT if target.port is None else target.port, transport)
