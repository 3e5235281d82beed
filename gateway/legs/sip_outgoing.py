"""Somebody whom we call over SIP, as a leg.

Media is open before the INVITE leaves, because the callee may speak as soon as it has answered. It
starts with the answer. Early media of a 183 is heard by setting, and never sent any.

The offer has both laws, and the call is joined in one of them whichever the callee takes; the port
translates, since the Realtime session is there before anybody has answered.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.audio.formats import Law
from gateway.legs.leg import Headers, LegEnded, LegError, LegRedirected, MediaPort
from gateway.legs.leg_media import MediaConfig
from gateway.legs.plain_media import PlainMedia
from gateway.legs.sip_leg import Signalling, SipLeg
from gateway.sdp.description import SdpError, SessionDescription
from gateway.sip.agent import SipAgent
from gateway.sip.auth import Credentials
from gateway.sip.events import CallEnded, SipEvent
from gateway.sip.message import Address
from gateway.sip.trunk import Trunk
from gateway.sip.uri import SipUri

_SILENT_S = 4.0
"""A place from which nothing at all has come by then is left, if there is another."""


@dataclass(frozen=True, slots=True)
class DialPlan:
    """Whom to call, and as whom."""

    target: str
    """A sip URI, which becomes the Request-URI."""
    from_uri: str
    hop: Address | None = None
    """Where the INVITE is sent; a host name is allowed, and what it does not say (port 0, transport
    "") is for DNS to say (RFC 3263). None sends it where the target says."""
    credentials: Credentials | None = None
    """For a callee, or a proxy on the way, that asks who we are."""
    from_name: str = ""
    """What stands in From beside the URI."""
    headers: Headers = ()
    """More of the INVITE."""
    replaces: str = ""
    referred_by: str = ""
    """Values of the headers of that name; "" leaves them out."""
    trunk: Trunk | None = None
    """Who carries the call; None is nobody but the callee."""
    law: Law = "pcmu"
    """What the call is joined in, whichever law the callee takes."""


class Course(Protocol):
    """Where a call may go on to."""

    def onward(self, contacts: Sequence[str], status: int | None) -> DialPlan | None:
        """What is tried after a final `status` (None: nothing was heard) that named `contacts`;
        None is nothing any more."""

    def over(self) -> None:
        """Nothing will be tried, and what was is over."""


class SipOutgoingLeg(SipLeg):
    """One call of ours.

    Args:
        plan: the way to whom it is for.
        course: where else it may go; None is nowhere.
    """

    direction: Final = "outbound"

    def __init__(
        self,
        signalling: Signalling,
        plan: DialPlan,
        media: MediaConfig,
        course: Course | None = None,
    ) -> None:
        super().__init__(signalling, media, caller=plan.from_uri, callee=plan.target)
        self._dial_plan = plan
        self._course = course
        self._places: list[Address] = []  # all that the plan's way was found to lead to
        self._others: list[Address] = []  # where else the callee may be
        self._is_private = self._is_ipv6 = False
        self._following: asyncio.Task[None] | None = None

    async def dial(self) -> MediaPort:
        to, *others = await self._signalling.locate(_hop(self._dial_plan))
        # The offer is made once: keys that stand in it are told to nobody without encryption.
        self._is_private, self._is_ipv6 = to.is_private, ":" in to.host
        self._others = self._fit(others)
        self._places = [to, *self._others]
        self._media = PlainMedia(
            self._config,
            to.host,
            self._media_event,
            private=to.is_private,
            law=self._dial_plan.law,
        )
        port = await self._open_media()
        try:
            self._invite(to)
        except LegError:
            await self._media.close()
            raise
        return port

    def dialog_event(self, event: SipEvent) -> None:
        if not (isinstance(event, CallEnded) and self._goes_on(event)):
            super().dialog_event(event)

    def hang_up(self, headers: Headers = ()) -> None:
        self._others, following = [], self._following
        super().hang_up(headers)
        if following is not None:
            self._following = None
            following.cancel()
        if not self.dialog_id or following is not None:
            self._emit(LegEnded("cancelled"))

    async def close(self) -> None:
        following = self._following
        try:
            await super().close()
            if following is not None:
                await asyncio.gather(following, return_exceptions=True)
        finally:
            if self._course is not None:
                self._course.over()

    def _goes_on(self, ended: CallEnded) -> bool:
        """Whether the call is tried elsewhere."""
        if self._is_up or ended.cause not in ("refused", "timeout", "transport"):
            return False
        if self._others and _is_elsewhere(ended):
            self._invite(self._others.pop(0))
            return True
        plan = None if self._course is None else self._course.onward(ended.contacts, ended.status)
        if plan is None:
            return False
        work = self._follow(plan, ended)
        self._following = asyncio.get_running_loop().create_task(work)
        return True

    async def _follow(self, plan: DialPlan | None, ended: CallEnded) -> None:
        """Call somebody else, of those whom a 3xx named; nobody else knows of this task."""
        while plan is not None and self._course is not None:
            self._emit(LegRedirected(ended.status))
            try:
                places = self._fit(await self._signalling.locate(_hop(plan)))
                if places:
                    self._dial_plan, self._places, self._others = plan, places, places[1:]
                    self._following = None
                    self._invite(places[0])
                    return
            except LegError:
                # That one cannot be called: perhaps the next can.
                self._following = asyncio.current_task()
            plan = self._course.onward((), None)
        self._following = None
        self._emit(LegEnded(ended.cause, ended.status))

    def _fit(self, places: Sequence[Address]) -> list[Address]:
        """Those that may be told what stands in our offer, and can send to the address in it."""
        return [
            place
            for place in places
            if (place.is_private or not self._is_private) and (":" in place.host) == self._is_ipv6
        ]

    def _invite(self, to: Address) -> None:
        plan, body = self._dial_plan, self._media.offer()
        if isinstance(self._media, PlainMedia):
            self._media.called_at(to.host)

        def invite(agent: SipAgent, now: float) -> str:
            dialog_id = agent.invite(
                plan.target,
                body,
                now,
                to=to,
                from_uri=plan.from_uri,
                from_name=plan.from_name,
                headers=plan.headers,
                replaces=plan.replaces,
                referred_by=plan.referred_by,
                credentials=plan.credentials,
                places=self._places,
                silent_s=_SILENT_S if self._others else 0.0,
            )
            self.sip_call_id = agent.call_id(dialog_id)
            return dialog_id

        try:
            self._signalling.place(self, invite)
        except ValueError as error:
            raise LegError(400, "bad_target") from error

    def _answered(self, body: bytes | None) -> None:
        """The 2xx came, and was acknowledged."""
        self._others = []
        if self._take_answer(body):
            self._answered_by_both()

    def _answer_to(self, offer: SessionDescription) -> bytes:
        media = self._media
        if self._is_up or not isinstance(media, PlainMedia):
            return super()._answer_to(offer)
        return media.answer_early(offer)

    def _rings(self, status: int, body: bytes | None) -> None:
        self._others = []  # the callee was found: what follows is their word
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
    if target.port == 0:
        raise LegError(400, "bad_target")
    hop = plan.hop or hop_of(target)
    if hop.transport not in ("", "udp", "tcp", "tls") or not 0 <= hop.port < 65_536:
        raise LegError(400, "bad_target")
    return hop


def hop_of(target: SipUri) -> Address:
    """Where a URI says that it is reached; what it does not say is left open."""
    transport = (target.param("transport") or "").lower()
    if target.scheme == "sips":
        transport = "tls"  # whatever it travels on (RFC 3261 section 26.2.2)
    name = target.host if transport == "tls" else ""
    return Address(target.host, target.port or 0, transport, name)


def _is_elsewhere(event: CallEnded) -> bool:
    """Whether it was the place that failed, and not the callee who refused (RFC 3263 s. 4.3)."""
    return event.cause in ("timeout", "transport") or (
        event.cause == "refused" and event.status == 503
    )
