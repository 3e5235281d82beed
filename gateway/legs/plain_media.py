"""Offers, answers and the port of a leg whose media is plain RTP (RFC 3264, RFC 3551)."""

import ipaddress
import secrets
from dataclasses import dataclass, replace
from typing import Final

from gateway.audio.formats import G711, Law
from gateway.legs.leg import LegError, LegHeld
from gateway.legs.leg_media import BIND_TRIES, PACKET_MS, Emit, MediaConfig
from gateway.legs.outlet import unheard
from gateway.legs.ports import NoPortError
from gateway.legs.rtp_port import RtpPort
from gateway.reach import reachable_host, usable_host
from gateway.sdp import answer as offer_answer
from gateway.sdp.crypto import KEY_BYTES, Suite
from gateway.sdp.description import SdpError, SessionDescription, parse
from gateway.sdp.plan import AudioPlan, LocalMedia

_CODECS: Final[tuple[Law, ...]] = ("pcmu", "pcma")


@dataclass(frozen=True, slots=True)
class _EarlyChange:
    """What whom we call changed before the answer."""

    offer: SessionDescription
    plan: AudioPlan
    said: SessionDescription | None
    """Our own offer."""


class PlainMedia:
    """One leg's media.

    Args:
        peer_host: the IP address that signalling comes from; "" where that is not known.
        emit: is handed what the port tells, and hold.
        private: nobody on the way can read what is signalled, so that keys may be offered in it.
        law: what the call is joined in and our offers ask for first, unless an offer of the peer's
            says otherwise.
    """

    def __init__(
        self,
        config: MediaConfig,
        peer_host: str,
        emit: Emit,
        *,
        private: bool = False,
        law: Law = "pcmu",
    ) -> None:
        self.codec: Law = law
        self.format = G711[law]
        self._config = config
        self._peer_host = peer_host
        self._emit = emit
        self._bind_host, host = config.hosts_for(peer_host)
        self._local = LocalMedia(
            host=host,
            port=0,
            session_id=secrets.randbits(62),
            session_version=1,
            codecs=_CODECS if law == "pcmu" else _CODECS[::-1],
            keys={} if config.srtp == "off" else _new_keys(),
            secure=config.srtp == "require",
            offers_keys=private,
        )
        self._offered: SessionDescription | None = None
        self._plan: AudioPlan | None = None
        self._last: SessionDescription | None = None
        self._early: _EarlyChange | None = None
        self._port: RtpPort | None = None
        self._port_number: int | None = None
        self._closed = False

    @property
    def media_security(self) -> str:
        return "rtp" if self._plan is None or self._plan.srtp is None else "srtp"

    def look_at(self, offer: SessionDescription) -> None:
        # Tried with a port that stands for any.
        _, plan = offer_answer.answer(offer, replace(self._local, port=9))
        self._checked(plan)
        if plan.remote_port == 0:
            raise SdpError("the offer takes its only audio away", status=488)
        self._offered, self._plan = offer, plan
        self.codec = plan.codec
        self.format = G711[plan.codec]

    async def open(self) -> RtpPort:
        ports = self._config.ports
        for _ in range(BIND_TRIES):
            try:
                number = ports.take()
            except NoPortError:
                break
            packet_ms = PACKET_MS if self._plan is None else self._plan.ptime_ms
            config = self._config
            port = RtpPort(
                self.codec,
                packet_ms,
                config.new_flow(),
                config.pacer,
                self._emit,
                config.timeout_s,
                hears_tones=config.hears_tones,
            )
            try:
                await port.open(self._bind_host, number)
            except BaseException as error:
                port.close()
                ports.give_back(number)
                if isinstance(error, OSError):
                    continue  # another program sits there; the pair goes to the end of the line
                raise
            self._port, self._port_number = port, number
            self._local = replace(self._local, port=number)
            if self._closed:
                await self.close()
                raise LegError(487, "leg_ended")
            return port
        raise LegError(503, "no_media_port")

    def called_at(self, host: str) -> None:
        """Note the IP address that signalling goes to now."""
        self._peer_host = host

    def answer(self) -> bytes:
        if self._offered is None or self._plan is None:
            raise RuntimeError("nothing was offered")
        plan = self._plan
        if self._last is None:
            description, plan = offer_answer.answer(self._offered, self._local)
            self._last = description
        # Else it was told with early media, and perhaps changed since (RFC 3311).
        if self._port is not None:
            self._port.apply(plan, reachable=self._reachable(plan))
        return self._last.to_bytes()

    def offer(self) -> bytes:
        if self._plan is None and self._last is not None and self._local.keys:
            # Somebody else is asked now: who was asked before knows the keys.
            self._local = replace(self._local, keys=_new_keys())
        self._early = None
        local = self._local
        if self.media_security == "srtp":
            # Also a stream that sleeps, of which the last description says no key.
            local = replace(local, offers_keys=True)
        return self._described(offer_answer.offer(local, before=self._last))

    def take_answer(self, body: bytes) -> None:
        said, early = self._said, self._early
        if early is not None and parse(body) == early.offer:
            self._apply(early.plan)
        elif said is None or offer_answer.has_audio(said):
            self._apply(self._agreed(body))
        # Else the session was refreshed while the stream is taken away, and so it stays.

    def hear_early(self, body: bytes) -> None:
        """What comes before the answer, by an early description of the callee's, is heard; nothing
        is sent, since whoever has not answered is not to hear us either. Of a call that was forked
        the latest description counts. Raises SdpError."""
        plan = self._agreed(body)
        if self._port is not None:
            self._port.apply(plan, reachable=self._reachable(plan), early=True)

    def answer_early(self, offer: SessionDescription) -> bytes:
        """As `answer_again`, before whom we call has answered (RFC 3311): nothing is agreed on for
        good, and what comes is heard only if it may be. Who answers may be somebody else."""
        description, plan = self._answered_again(offer)
        self._early = _EarlyChange(offer, plan, self._said)
        if self._port is not None and self._config.hears_early:
            self._port.apply(plan, reachable=self._reachable(plan), early=True)
        return self._described(description)

    def answer_again(self, offer: SessionDescription) -> bytes:
        description, plan = self._answered_again(offer)
        self._apply(plan)
        return self._described(description)

    def press(self, keys: str) -> bool:
        return self._port is not None and self._port.press(keys)

    async def close(self) -> None:
        self._closed = True
        self._emit = unheard
        port, self._port = self._port, None
        if port is not None:
            port.close()
            self._config.tell_dropped(port.dropped())
        number, self._port_number = self._port_number, None
        if number is not None:
            self._config.ports.give_back(number)

    @property
    def _said(self) -> SessionDescription | None:
        """What answers are to: our last description, but for answers of ours to early changes."""
        return self._last if self._early is None else self._early.said

    def _agreed(self, body: bytes) -> AudioPlan:
        """What follows from an answer to what we said."""
        answer = parse(body)
        return self._checked(offer_answer.plan_from_answer(answer, self._local, said=self._said))

    def _answered_again(self, offer: SessionDescription) -> tuple[SessionDescription, AudioPlan]:
        """Stay with the codec in use if the new offer still has it, else take what it has."""
        current = self.codec if self._plan is None else self._plan.codec
        try:
            description, plan = offer_answer.answer(offer, replace(self._local, codecs=(current,)))
        except SdpError:
            description, plan = offer_answer.answer(offer, self._local)
        return description, self._checked(plan)

    def _described(self, description: SessionDescription) -> bytes:
        """Our next description; its version tells whether it says anything new (RFC 3264 s. 8)."""
        if self._last is not None:
            description = description.following(self._last)
        self._last = description
        return description.to_bytes()

    def _checked(self, plan: AudioPlan) -> AudioPlan:
        """The plan, unless it would have us send media where no peer can be."""
        told = not ipaddress.ip_address(plan.remote_host).is_unspecified  # else it means hold
        if told and not usable_host(plan.remote_host, self._local.host):
            raise SdpError("media cannot be sent to the address offered", status=488)
        return plan

    def _reachable(self, plan: AudioPlan) -> bool:
        config = self._config
        return reachable_host(
            plan.remote_host, self._local.host, self._peer_host, config.allow or ()
        )

    def _take_fresh_key(self, plan: AudioPlan) -> None:
        """A key that was left for another is not used again: its packets have been numbered."""
        before = None if self._plan is None else self._plan.srtp
        if before is None or (plan.srtp is not None and plan.srtp.sends == before.sends):
            return
        keys = {**self._local.keys, before.suite: secrets.token_bytes(KEY_BYTES[before.suite])}
        self._local = replace(self._local, keys=keys)

    def _apply(self, plan: AudioPlan) -> None:
        if self._plan is None:
            self.codec = plan.codec
        was_held = self._plan is not None and not self._plan.can_send
        if self._plan is not None and plan.remote_port == 0:
            # A stream that is taken away sleeps with its keys; nobody may wake it without them.
            plan = replace(plan, srtp=self._plan.srtp)
        self._take_fresh_key(plan)
        self._plan, self._early = plan, None
        if self._port is not None:
            self._port.apply(plan, reachable=self._reachable(plan))
        if was_held == plan.can_send:
            self._emit(LegHeld(not plan.can_send))


def _new_keys() -> dict[Suite, bytes]:
    """One for each way of protecting media."""
    return {suite: secrets.token_bytes(size) for suite, size in KEY_BYTES.items()}
