"""The phone line: how calls begin, and all that the API may ask of them."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from structlog.typing import FilteringBoundLogger

from gateway.calls.announce import SendsWebhooks
from gateway.calls.call import Call
from gateway.calls.commands import Command, Dial, Refer, no_call, no_leg, wrong_state
from gateway.calls.machine import CallMachine
from gateway.calls.others import Dials, OtherCalls
from gateway.calls.policy import CallPolicy, Refusal
from gateway.calls.registry import Registry
from gateway.calls.sessions import Sources
from gateway.calls.sounds import Sounds
from gateway.calls.targets import check_allowed
from gateway.legs.leg import (
    CallOrder,
    EventChannel,
    IncomingLeg,
    LegError,
    OfferError,
    OutgoingLeg,
    PeerLeg,
)
from gateway.realtime.errors import RealtimeError, invalid
from gateway.realtime.session import Session
from gateway.upstream.ids import new_event_id

_ID_BYTES = 16

Meets = Callable[[bytes], PeerLeg]
"""Makes the leg of whoever posted this offer of WebRTC; raises OfferError."""


@dataclass(frozen=True, slots=True)
class LineConfig:
    """How the line treats all calls."""

    policy: CallPolicy
    reject_all: bool = False
    """Turn every caller away with 603."""
    targets: Sequence[str] = ()
    """What may be called, also by transfer, as `target_allowed` reads it; empty: anything."""
    sounds: Sounds = Sounds()


class Line:
    """Makes calls of legs, and finds them again.

    Args:
        config: how calls are treated.
        registry: where they live.
        sources: where sessions come from.
        dials: makes legs to those whom we call.
        meets: makes legs of those who post an offer.
        webhook: tells the application of each call that comes in.
        log: bound to nothing.
    """

    def __init__(
        self,
        config: LineConfig,
        registry: Registry,
        sources: Sources,
        dials: Dials,
        meets: Meets,
        webhook: SendsWebhooks | None,
        log: FilteringBoundLogger,
    ) -> None:
        self._config = config
        self._registry = registry
        self._sources = sources
        self._dials = dials
        self._meets = meets
        self._webhook = webhook
        self._log = log
        self._others = OtherCalls(registry, dials, config.targets)

    def take(self, leg: IncomingLeg, fault: LegError | None) -> None:
        """Somebody calls; `fault` is why the leg cannot be served."""
        refusal = self._registry.refusal()
        if refusal is None and fault is not None:
            refusal = Refusal(fault.status, fault.reason)
        if refusal is None and self._config.reject_all:
            refusal = Refusal(603, "rejected")
        if leg.replaces and fault is None:
            replaced = self._others.with_leg(leg.replaces)
            if replaced is not None:
                replaced.take_place(leg)
                return
            refusal = Refusal(481, "not_replaceable")
        machine = CallMachine(self._config.policy, new_event_id=new_event_id, refusal=refusal)
        self._registry.start(self._call(leg, machine, self._webhook))

    async def dial(self, order: Dial) -> dict[str, Any]:
        """Call somebody; returns the call's summary once the INVITE is on its way.

        Raises:
            RealtimeError: why there is no such call.
        """
        self._check_room()
        check_allowed(order.to, self._config.targets, "to")
        policy = self._config.policy
        if order.ring_timeout_s is not None:
            if order.ring_timeout_s > policy.ring_timeout_s:
                most = f"at most {policy.ring_timeout_s:g}, which GATEWAY_CALLS_RING_TIMEOUT_S says"
                raise invalid("ring_timeout_s", order.ring_timeout_s, most)
            policy = replace(policy, ring_timeout_s=order.ring_timeout_s)
        try:
            leg = self._dials(
                CallOrder(order.to, order.caller, order.caller_name, order.anonymous, order.headers)
            )
        except LegError as error:
            raise no_leg(error.status, error.reason) from None
        if order.session is not None:
            policy = replace(policy, session=order.session)
        machine = CallMachine(policy, new_event_id=new_event_id, outbound=True)
        call = self._call(leg, machine, self._webhook)
        self._registry.start(call)
        await call.made()
        return call.record.summary()

    async def connect(
        self, offer: bytes, session: Session | None, model: str | None = None
    ) -> tuple[str, bytes]:
        """Take the call of whoever posted an offer of WebRTC; returns its id and our answer.

        Args:
            offer: SDP, unchecked.
            session: a checked config; None is the policy's.
            model: of the session, unless it was given and names one.

        Raises:
            RealtimeError: why there is no such call.
        """
        self._check_room()
        try:
            leg = self._meets(offer)
        except OfferError as error:
            raise RealtimeError(
                f"The SDP offer cannot be used. {error}.", code=error.code, param="sdp"
            ) from None
        wanted = self._config.policy.session if session is None else session
        if model and (session is None or "model" not in session):
            wanted = wanted | {"model": model}
        policy = replace(
            self._config.policy,
            application_decides=False,  # it has, by posting the offer or making the secret
            posted=True,
            greet=False,  # the page asks for what it wants to hear
            session=wanted,
        )
        machine = CallMachine(policy, new_event_id=new_event_id, can_refer=False)
        # The webhook tells of calls that somebody else placed.
        call = self._call(leg, machine, None, leg.channel)
        self._registry.start(call)
        await call.made()
        return call.call_id, leg.description

    async def command(self, call_id: str, command: Command) -> None:
        """Have a command carried out; returns when it has had its effect.

        Raises:
            RealtimeError: why it has none.
        """
        if isinstance(command, Refer) and command.target_uri:
            check_allowed(command.target_uri, self._config.targets, "target_uri")
        call = self._registry.get(call_id)
        if call is not None:
            if isinstance(command, Refer):
                command = self._transfer(command, call)
            await call.command(command)
            return
        ended = self._registry.ended(call_id)
        if ended is None or not ended.had_its_effect(command):
            raise no_call()

    async def joined(self, call_id: str, wait_s: float) -> Call:
        """The call, when it has a session; one that is being set up is waited for.

        Raises:
            RealtimeError: there is no such call, it got no session in time, or it has too many
                clients already.
        """
        call = self._registry.get(call_id)
        if call is None or not await call.joined(wait_s):
            raise no_call()
        if call.controls.full:
            raise RealtimeError(
                "Too many clients control this call.",
                code="rate_limit_exceeded",
                kind="rate_limit_error",
                status=429,
            )
        return call

    def call_ids(self) -> list[str]:
        """Of the calls in progress and of those that ended lately, each the newest first."""
        return self._registry.known()

    def summary(self, call_id: str) -> dict[str, Any]:
        """What is known of a call. Raises RealtimeError when that is nothing."""
        call = self._registry.get(call_id)
        if call is not None:
            return call.record.summary()
        ended = self._registry.ended(call_id)
        if ended is None:
            raise no_call()
        return ended.summary

    def _transfer(self, asked: Refer, call: Call) -> Refer:
        """A transfer that can be tried. Raises RealtimeError."""
        if call.leg.kind != "sip" and self._config.policy.bridge == "off":
            raise wrong_state("Only telephone calls can be transferred.", "not_a_phone_call")
        latest = call.record.machine.transfer
        # One that failed may lead elsewhere when it is tried anew: it is checked anew.
        again = latest is not None and latest.asked == asked and not latest.failed
        return self._others.checked(asked, call) if asked.replaces and not again else asked

    def _call(
        self,
        leg: IncomingLeg | OutgoingLeg,
        machine: CallMachine,
        webhook: SendsWebhooks | None,
        channel: EventChannel | None = None,
    ) -> Call:
        call_id = f"rtc_{secrets.token_hex(_ID_BYTES)}"
        return Call(
            call_id,
            leg,
            machine,
            self._sources,
            self._log,
            self._config.sounds,
            self._others,
            webhook,
            channel,
        )

    def _check_room(self) -> None:
        refusal = self._registry.refusal()
        if refusal is not None:
            raise RealtimeError(
                f"No call can be made now: {refusal.reason}.",
                code=refusal.reason,
                kind="rate_limit_error",
                status=429,
                retry=refusal.reason != "draining",  # this process will not take it later either
                retry_after_s=refusal.retry_after_s,
            )
