"""One dialog of the `SipAgent` and one `RtpPort` as a leg: what is the same whoever called whom.

How a call comes about is the subject of `sip_incoming` and `sip_outgoing`. From then on both sides
may offer changes of the session, and we may ask the peer to call somebody else (REFER).
"""

import ipaddress
import random
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from gateway.audio.formats import PCMU, Law
from gateway.legs.leg import (
    LegEnded,
    LegError,
    LegEvent,
    LegHeld,
    LegRinging,
    ReferAnswered,
    ReferProgress,
)
from gateway.legs.pacer import Pacer
from gateway.legs.ports import NoPortError, PortPool
from gateway.legs.reach import Network, reachable_host, usable_host
from gateway.legs.rtp_port import RtpFlow, RtpPort
from gateway.sdp import answer as offer_answer
from gateway.sdp.answer import AudioPlan, LocalMedia
from gateway.sdp.description import SdpError, SessionDescription, parse
from gateway.sip import events
from gateway.sip.agent import SipAgent
from gateway.sip.message import Address

_CODECS: tuple[Law, ...] = ("pcmu", "pcma")
_BIND_TRIES = 8
_PACKET_MS = 20


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """What all RTP legs of the process share.

    Peers in the networks of `allow` are sent media at private addresses although ours is public.
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

    async def locate(self, hop: Address) -> Address:
        """`hop` with the IP address that its host has. Raises LegError."""

    def place(self, leg: "SipLeg", invite: Callable[[SipAgent, float], str]) -> None:
        """Have `invite` call somebody: the events of the dialog that it returns go to `leg`, whose
        `dialog_id` it becomes."""


class SipLeg(ABC):
    """One dialog.

    Args:
        dialog_id: "" until there is one.
        peer_host: the IP address that signalling goes to; "" until it is known.
        headers: of the INVITE that came in.
        caller, callee: URIs of From and To.
    """

    kind = "sip"
    media_security = "rtp"

    def __init__(
        self,
        signalling: Signalling,
        media: MediaConfig,
        *,
        dialog_id: str = "",
        peer_host: str = "",
        headers: tuple[tuple[str, str], ...] = (),
        caller: str,
        callee: str,
    ) -> None:
        self.dialog_id = dialog_id
        self.headers = headers
        self.caller, self.callee = caller, callee
        self.codec: Law = "pcmu"
        self.format = PCMU
        self._signalling = signalling
        self._media = media
        self._peer_host = peer_host
        self._local = LocalMedia(
            host=media.advertised_host,
            port=0,
            session_id=secrets.randbits(62),
            session_version=1,
            codecs=_CODECS,
        )
        self._plan: AudioPlan | None = None
        self._last: SessionDescription | None = None
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

    def refer(self, target_uri: str) -> None:
        try:
            self._signalling.act(lambda agent, now: agent.refer(self.dialog_id, target_uri, now))
        except ValueError as error:
            raise LegError(400, "bad_target") from error

    def hang_up(self) -> None:
        self._signalling.act(lambda agent, now: agent.hang_up(self.dialog_id, now))

    async def close(self) -> None:
        self._closed = True
        self._listener = None
        if not self._ended:
            self.hang_up()  # nobody may be left on a line that leads nowhere
        self._close_port()

    # What the dialog tells.

    def dialog_event(self, event: events.SipEvent) -> None:
        """Take an event of this leg's dialog."""
        match event:
            case events.Answered(body=body):
                self._answered(body)
            case events.Reoffer(offer=body):
                self._reoffered(body)
            case events.Reanswered(body=body):
                self._take_answer(body)
            case events.ReferAnswered(status=status):
                self._emit(ReferAnswered(status))
            case events.ReferProgress(status=status, over=over):
                self._emit(ReferProgress(status, over))
            case events.CallEnded(cause=cause, status=status):
                self._emit(LegEnded(cause, status))
            case events.Ringing(status=status):
                self._emit(LegRinging(status))
            case events.IncomingCall():
                pass  # how this leg began

    @abstractmethod
    def _answered(self, body: bytes | None) -> None:
        """The call is up; `body` is as in `events.Answered`."""

    def _emit(self, event: LegEvent) -> None:
        if self._ended:
            return  # nothing follows the end, which has several causes: we hang up, then they do
        self._ended = isinstance(event, LegEnded)
        if self._listener is not None:
            self._listener(event)
        elif not self._closed:
            self._early.append(event)  # a caller may give up before the call has begun to listen

    # Offers and answers.

    def _offer(self) -> bytes:
        """An offer of all that we can."""
        return self._described(offer_answer.offer(self._local))

    def _take_answer(self, body: bytes | None) -> bool:
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
            answer = self._offer()
        else:
            try:
                description, plan = self._answer_again(parse(body))
            except SdpError as error:
                status, headers = error.status, warning_header(error.warning)
                self._signalling.act(
                    lambda agent, now: agent.refuse_offer(
                        self.dialog_id, status, now, headers=headers
                    )
                )
                return
            self._apply(plan)
            answer = self._described(description)
        self._signalling.act(lambda agent, now: agent.answer_offer(self.dialog_id, answer, now))

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
        """The plan, unless it would have us send media where no peer can be."""
        told = not ipaddress.ip_address(plan.remote_host).is_unspecified  # else it means hold
        if told and not usable_host(plan.remote_host, self._media.advertised_host):
            raise SdpError("media cannot be sent to the address offered", status=488)
        return plan

    def _reachable(self, plan: AudioPlan) -> bool:
        media = self._media
        return reachable_host(
            plan.remote_host, media.advertised_host, self._peer_host, media.allow or ()
        )

    def _apply(self, plan: AudioPlan) -> None:
        if self._plan is None:
            self.codec = plan.codec
        was_held = self._plan is not None and not self._plan.can_send
        self._plan = plan
        if self._port is not None:
            self._port.apply(plan, reachable=self._reachable(plan))
        if was_held == plan.can_send:
            self._emit(LegHeld(not plan.can_send))

    # Media.

    async def _open_port(self) -> RtpPort:
        """Bind a pair of ports, for as long as the leg lives.

        Raises:
            LegError: 503 no_media_port; 487 leg_ended, it did so meanwhile.
        """
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
            if self._ended or self._closed:
                self._close_port()
                raise LegError(487, "leg_ended")
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

    def _close_port(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.close()
        number, self._rtp_port_number = self._rtp_port_number, None
        if number is not None:
            self._media.ports.give_back(number)


def warning_header(warning: str | None) -> tuple[tuple[str, str], ...]:
    """What a refusal says about the session description that it refuses."""
    return () if warning is None else (("Warning", warning),)
