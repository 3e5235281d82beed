"""A SIP caller as a leg: one dialog of the `SipAgent`, one `RtpPort`.

The offer is looked at when the leg is made, so that a caller who cannot be served is told so before
anything else is tried; after that an answer can only fail for want of a port. With a late offer (an
INVITE without SDP) our 200 carries the offer and the ACK its answer.
"""

import ipaddress
import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.audio.formats import Law
from gateway.legs.leg import (
    LegAnswered,
    LegEnded,
    LegError,
    LegEvent,
    LegHeld,
    MediaPort,
)
from gateway.legs.pacer import Pacer
from gateway.legs.ports import NoPortError, PortPool
from gateway.legs.rtp_port import FORMATS, RtpFlow, RtpPort
from gateway.sdp import answer as offer_answer
from gateway.sdp.answer import AudioPlan, LocalMedia
from gateway.sdp.description import SdpError, SessionDescription, parse
from gateway.sip.agent import SipAgent
from gateway.sip.events import (
    Answered,
    CallEnded,
    IncomingCall,
    Reanswered,
    Reoffer,
    Ringing,
    SipEvent,
)

_CODECS: tuple[Law, ...] = ("pcmu", "pcma")
_BIND_TRIES = 8
_PACKET_MS = 20

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_PRIVATE: tuple[Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # behind a carrier's NAT
        "fc00::/7",
        "fec0::/10",
    )
)


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """What all RTP legs of the process share.

    Callers in the networks of `allow` are sent media at private addresses although ours is public.
    """

    bind_host: str
    advertised_host: str
    ports: PortPool
    pacer: Pacer
    timeout_s: float
    allow: tuple[Network, ...] | None = None


class Signalling(Protocol):
    """The endpoint as a leg sees it."""

    def act(self, action: Callable[[SipAgent, float], None]) -> None:
        """Ask something of the agent and send what comes of it."""


class SipLeg:
    """One dialog."""

    kind = "sip"
    media_security = "rtp"

    def __init__(
        self,
        signalling: Signalling,
        incoming: IncomingCall,
        media: MediaConfig,
    ) -> None:
        self._signalling = signalling
        self._dialog_id = incoming.dialog_id
        self._came_from = incoming.source.host
        self._media = media
        self._offer: SessionDescription | None = None  # None: late, the ACK brings the answer
        self._local = LocalMedia(
            host=media.advertised_host,
            port=0,
            session_id=secrets.randbits(62),
            session_version=1,
            codecs=_CODECS,
        )
        self._plan: AudioPlan | None = None
        self._last: SessionDescription | None = None
        self.fault: LegError | None = None
        self._warning: str | None = None
        if incoming.offer is not None:
            self._look_at(incoming.offer)
        self.codec: Law = "pcmu" if self._plan is None else self._plan.codec
        self.format = FORMATS[self.codec]
        self._port: RtpPort | None = None
        self._rtp_port_number: int | None = None
        self._listener: Callable[[LegEvent], None] | None = None
        self._early: list[LegEvent] = []
        self._ended = False
        self._closed = False

    # What a call asks.

    def listen(self, listener: Callable[[LegEvent], None]) -> None:
        self._listener = listener
        early, self._early = self._early, []
        for event in early:
            listener(event)

    def ring(self) -> None:
        self._signalling.act(lambda agent, now: agent.ring(self._dialog_id, now))

    async def answer(self) -> MediaPort:
        port = await self._open_port()
        if self._ended:
            raise LegError(487, "caller_gone")
        if self._offer is None:
            description = offer_answer.offer(self._local)
        else:
            description, plan = offer_answer.answer(self._offer, self._local)
            port.apply(plan, reachable=self._reachable(plan))
        body = self._described(description)
        self._signalling.act(lambda agent, now: agent.accept(self._dialog_id, body, now))
        return port

    def reject(self, status: int, retry_after_s: int | None = None) -> None:
        headers = _warning_header(self._warning)
        if retry_after_s is not None:
            headers += (("Retry-After", str(retry_after_s)),)
        self._signalling.act(
            lambda agent, now: agent.reject(self._dialog_id, status, now, headers=headers)
        )

    def hang_up(self) -> None:
        self._signalling.act(lambda agent, now: agent.hang_up(self._dialog_id, now))

    async def close(self) -> None:
        self._closed = True
        self._listener = None
        port, self._port = self._port, None
        if port is not None:
            port.close()
        number, self._rtp_port_number = self._rtp_port_number, None
        if number is not None:
            self._media.ports.give_back(number)

    # What the dialog tells.

    def dialog_event(self, event: SipEvent) -> None:
        """Take an event of this leg's dialog."""
        match event:
            case Answered(body=body):
                self._acknowledged(body)
            case Reoffer(offer=body):
                self._reoffered(body)
            case CallEnded(cause=cause, status=status):
                self._emit(LegEnded(cause, status))
            case Reanswered(body=body):
                self._take_late_answer(body)
            case Ringing() | IncomingCall():
                pass  # of calls that we make, and how this one began

    def _look_at(self, offer: bytes) -> None:
        """Learn whether the offer can be served; tried with a port that stands for any."""
        try:
            self._offer = parse(offer)
            _, plan = offer_answer.answer(self._offer, replace(self._local, port=9))
            self._plan = self._checked(plan)
            if plan.remote_port == 0:
                raise SdpError("the offer takes its only audio away", status=488)
        except SdpError as error:
            self.fault = LegError(error.status, "unacceptable_media")
            self._warning = error.warning

    def _emit(self, event: LegEvent) -> None:
        if self._ended:
            return  # nothing follows the end, which has several causes: we hang up, then they do
        self._ended = isinstance(event, LegEnded)
        if self._listener is not None:
            self._listener(event)
        elif not self._closed:
            self._early.append(event)  # a caller may give up before the call has begun to listen

    def _acknowledged(self, body: bytes | None) -> None:
        if self._offer is None and not self._take_late_answer(body):
            return
        self._emit(LegAnswered())

    def _take_late_answer(self, body: bytes | None) -> bool:
        """An answer to an offer of ours; one that cannot be used ends the call."""
        try:
            plan = self._checked(offer_answer.plan_from_answer(parse(body or b""), self._local))
        except SdpError:
            self._emit(LegEnded("bad_answer"))
            self.hang_up()
            return False
        self._apply(plan)
        return True

    def _reoffered(self, body: bytes | None) -> None:
        """A new offer inside the call: hold, resume, a new address, a new codec."""
        if body is None:
            description = offer_answer.offer(self._local)
        else:
            try:
                offer = parse(body)
                description, plan = self._answer_again(offer)
            except SdpError as error:
                status, headers = error.status, _warning_header(error.warning)
                self._signalling.act(
                    lambda agent, now: agent.refuse_offer(
                        self._dialog_id, status, now, headers=headers
                    )
                )
                return
            self._apply(plan)
        answer = self._described(description)
        self._signalling.act(lambda agent, now: agent.answer_offer(self._dialog_id, answer, now))

    def _described(self, description: SessionDescription) -> bytes:
        """Our next description; its version tells whether it says anything new (RFC 3264 s. 8)."""
        if self._last is not None:
            description = description.following(self._last)
        self._last = description
        return description.to_bytes()

    def _answer_again(self, offer: SessionDescription) -> tuple[SessionDescription, AudioPlan]:
        """Stay with the codec in use if the new offer still has it, else take what it has."""
        current = self.codec if self._plan is None else self._plan.codec
        try:
            description, plan = offer_answer.answer(offer, replace(self._local, codecs=(current,)))
        except SdpError:
            description, plan = offer_answer.answer(offer, self._local)
        return description, self._checked(plan)

    def _checked(self, plan: AudioPlan) -> AudioPlan:
        """The plan, unless it would have us send media where no caller can be."""
        told = not ipaddress.ip_address(plan.remote_host).is_unspecified  # else it means hold
        if told and not usable_host(plan.remote_host, self._media.advertised_host):
            raise SdpError("media cannot be sent to the address offered", status=488)
        return plan

    def _reachable(self, plan: AudioPlan) -> bool:
        media = self._media
        return reachable_host(
            plan.remote_host, media.advertised_host, self._came_from, media.allow or ()
        )

    def _apply(self, plan: AudioPlan) -> None:
        was_held = self._plan is not None and not self._plan.can_send
        self._plan = plan
        if self._port is not None:
            self._port.apply(plan, reachable=self._reachable(plan))
        if was_held == plan.can_send:
            self._emit(LegHeld(not plan.can_send))

    async def _open_port(self) -> RtpPort:
        for _ in range(_BIND_TRIES):
            try:
                number = self._media.ports.take()
            except NoPortError:
                break
            port = self._new_port()
            try:
                await port.open(self._media.bind_host, number)
            except BaseException as error:
                port.close()
                self._media.ports.give_back(number)
                if isinstance(error, OSError):
                    continue  # another program sits there; the pair goes to the end of the line
                raise
            self._port, self._rtp_port_number = port, number
            self._local = replace(self._local, port=number)
            return port
        raise LegError(503, "no_media_port")

    def _new_port(self) -> RtpPort:
        flow = RtpFlow(
            ssrc=secrets.randbits(32),
            first_sequence=secrets.randbits(16),
            first_timestamp=secrets.randbits(32),
            cname=f"{secrets.randbits(64):x}@{self._media.advertised_host}",
            random=random.random,
            timeout_s=self._media.timeout_s,
        )
        packet_ms = _PACKET_MS if self._plan is None else self._plan.ptime_ms
        return RtpPort(self.codec, packet_ms, flow, self._media.pacer, self._emit)


def _warning_header(warning: str | None) -> tuple[tuple[str, str], ...]:
    return () if warning is None else (("Warning", warning),)


def usable_host(host: str, ours: str) -> bool:
    """Whether a caller can be at an address that a peer named: one unicast host, not nowhere, and
    this machine itself only when we are reached there too."""
    address, own = _ip(host), _ip(ours)
    if address is None:
        return False
    if address.is_loopback:
        return own is not None and own.is_loopback
    return not (
        address.is_multicast
        or address.is_unspecified
        or address.is_reserved
        or address.is_link_local
        or address in _THIS_NETWORK
    )


def reachable_host(host: str, ours: str, came_from: str, allow: Sequence[Network]) -> bool:
    """Whether a usable address means the same host to the peer who named it as it does to us.

    A private one does when we live among private addresses too, when the INVITE came from it, or
    when it is in a private network of `allow` (0.0.0.0/0 lists nobody's). Else it is the caller's
    own, behind a NAT; what is sent to it reaches nobody, or a host of ours that the caller has no
    business with.
    """
    address, own = _ip(host), _ip(ours)
    if address is None:
        return False
    if not _is_private(address) or address == _ip(came_from):
        return True
    if own is not None and (own.is_loopback or _is_private(own)):
        return True
    return any(address in network and _is_private(network[0]) for network in allow)


def _is_private(address: _Ip) -> bool:
    return any(address in network for network in _PRIVATE)


def _ip(host: str) -> _Ip | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
