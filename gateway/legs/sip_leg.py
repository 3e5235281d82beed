"""One dialog of the `SipAgent` and the media under it as a leg: what is the same whoever called.

How a call comes about is the subject of `sip_incoming` and `sip_outgoing`. From then on both sides
may offer changes of the session, and we may ask the peer to call somebody else (REFER).
"""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from gateway.audio.formats import AudioFormat
from gateway.legs.info_sender import InfoSender
from gateway.legs.key_sender import PRESS_MS
from gateway.legs.leg import (
    DtmfIn,
    Headers,
    KeyRefused,
    KeysError,
    Leg,
    LegAnswered,
    LegEnded,
    LegError,
    LegEvent,
    LegRinging,
    LegSilent,
    MediaPort,
    ReferAnswered,
    ReferAsked,
    ReferProgress,
)
from gateway.legs.leg_media import LegMedia, MediaConfig
from gateway.legs.outlet import Outlet
from gateway.legs.plain_media import PlainMedia
from gateway.legs.presses import Presses, held_s
from gateway.sdp.description import SdpError, SessionDescription, parse
from gateway.sip import events
from gateway.sip.agent import SipAgent
from gateway.sip.info_keys import key_in, relay_body
from gateway.sip.message import Address

_REFERRED_BY: Final = ("referred-by", "b")
"""The header's name, and its short form (RFC 3892)."""
_KEYS_KEPT: Final = 32


class Signalling(Protocol):
    """The endpoint as a leg sees it."""

    def act(self, action: Callable[[SipAgent, float], None]) -> None:
        """Ask something of the agent and send what comes of it."""

    async def locate(self, hop: Address) -> list[Address]:
        """Where to send what is meant for `hop`, the best place first (RFC 3263): its host may be
        a name, its port 0 and its transport "" where they are for DNS to say. Raises LegError."""

    def place(self, leg: "SipLeg", invite: Callable[[SipAgent, float], str]) -> None:
        """Have `invite` call somebody: the events of the dialog that it returns go to `leg`, whose
        `dialog_id` it becomes."""


class SipLeg(ABC):
    """One dialog.

    Args:
        dialog_id: "" until there is one, like the Call-ID.
        peer_host: the IP address that signalling goes to; "" until it is known.
        headers: of the INVITE that came in.
        caller, callee: URIs of From and To.
        private: signalling is encrypted.
    """

    kind = "sip"

    def __init__(
        self,
        signalling: Signalling,
        media: MediaConfig,
        *,
        dialog_id: str = "",
        sip_call_id: str = "",
        peer_host: str = "",
        headers: tuple[tuple[str, str], ...] = (),
        caller: str,
        callee: str,
        private: bool = False,
    ) -> None:
        self.dialog_id = dialog_id
        self.sip_call_id = sip_call_id
        self.headers = headers
        self.caller, self.callee = caller, callee
        self._signalling = signalling
        self._config = media
        self._outlet = Outlet()
        self._emit = self._outlet.emit
        self._is_up = False
        self._has_said_yes = False
        """The call is up for the other side, whose ACK may be late or lost."""
        self._presses = Presses()
        self._early_keys: deque[DtmfIn] = deque(maxlen=_KEYS_KEPT)
        self._infos = InfoSender(self._send_info)
        self._media: LegMedia = PlainMedia(media, peer_host, self._media_event, private=private)

    @property
    def contact(self) -> str:
        found = ""

        def look(agent: SipAgent, _: float) -> None:
            nonlocal found
            found = agent.remote_target(self.dialog_id)

        self._signalling.act(look)
        return found

    # What is agreed on.

    @property
    def codec(self) -> str:
        return self._media.codec

    @property
    def format(self) -> AudioFormat:
        return self._media.format

    @property
    def media_security(self) -> str:
        return self._media.media_security

    # What a call asks.

    def listen(self, listener: Callable[[LegEvent], None]) -> None:
        self._outlet.listen(listener)

    def refer(self, target_uri: str, replaces: Leg | None = None, headers: Headers = ()) -> None:
        other = "" if replaces is None else replaces.dialog_id
        try:
            self._signalling.act(
                lambda agent, now: agent.refer(
                    self.dialog_id, target_uri, now, headers=headers, replaces=other
                )
            )
        except ValueError as error:
            raise LegError(400, "bad_target") from error

    def answer_refer(self, refer_id: str, status: int) -> None:
        self._signalling.act(
            lambda agent, now: agent.answer_refer(self.dialog_id, refer_id, status, now)
        )

    def report_refer(self, refer_id: str, status: int, *, over: bool) -> None:
        self._signalling.act(
            lambda agent, now: agent.report_refer(self.dialog_id, refer_id, status, over, now)
        )

    def press(self, keys: str) -> None:
        way = self._config.keys_out
        if way != "info" and self._media.press(keys):
            return
        if way == "rfc4733":
            raise KeysError(400, "no_digits")
        if not self._infos.add(keys):
            raise KeysError(429, "too_many_digits")

    def _send_info(self, key: str) -> None:
        body = relay_body(key, PRESS_MS)
        self._signalling.act(
            lambda agent, now: agent.info(self.dialog_id, "application/dtmf-relay", body, now)
        )

    def hang_up(self, headers: Headers = ()) -> None:
        self._signalling.act(lambda agent, now: agent.hang_up(self.dialog_id, now, headers=headers))

    async def close(self) -> None:
        self._infos.close()
        self._outlet.close()
        if not self._outlet.ended:
            self.hang_up()  # nobody may be left on a line that leads nowhere
        await self._media.close()

    # What the dialog tells.

    def dialog_event(self, event: events.SipEvent) -> None:
        """Take an event of this leg's dialog."""
        match event:
            case events.Answered(body=body):
                self._answered(body)
            case events.Reoffer(offer=body):
                self._reoffered(body)
            case events.Reanswered(status=status, body=body) if status < 300:
                self._take_answer(body)
            case events.ReferAnswered(status=status):
                self._emit(ReferAnswered(status))
            case events.ReferProgress(status=status, over=over):
                self._emit(ReferProgress(status, over))
            case events.ReferReceived(refer_id=refer_id, target_uri=uri, headers=headers):
                by = next((value for name, value in headers if name.lower() in _REFERRED_BY), "")
                self._emit(ReferAsked(refer_id, uri, by))
            case events.CallEnded(cause=cause, status=status):
                self._emit(LegEnded(cause, status))
            case events.InfoReceived(content_type=content_type, body=body):
                key = key_in(content_type, body)
                if key is not None:
                    self._pressed(DtmfIn(key, int(time.time()), "info"), held_s(body))
            case events.InfoAnswered(status=status):
                self._infos.answered(status)
                if status >= 300:
                    self._emit(KeyRefused(status))
            case events.Ringing(status=status, body=body):
                self._rings(status, body)
            case events.IncomingCall():
                pass  # how this leg began

    def _answered_by_both(self) -> None:
        self._is_up = True
        self._emit(LegAnswered())
        for key in self._early_keys:
            self._emit(key)
        self._early_keys.clear()

    def _media_event(self, event: LegEvent) -> None:
        """Take what media tells; before the answer silence means nothing."""
        if isinstance(event, DtmfIn):
            self._pressed(event)
        elif self._is_up or not isinstance(event, LegSilent):
            self._emit(event)

    def _pressed(self, key: DtmfIn, held_s: float = 0.0) -> None:
        """Tell a key, unless it came another way before. It means nothing before the answer; one
        that comes before the ACK of that waits for it."""
        if not (self._is_up or self._has_said_yes):
            return
        if not self._presses.is_new(key.digit, key.way, time.monotonic(), held_s):
            return
        if self._is_up:
            self._emit(key)
        else:
            self._early_keys.append(key)

    def _rings(self, status: int, body: bytes | None) -> None:
        """Whom we call makes progress; `body` is as in `events.Ringing`."""
        self._emit(LegRinging(status))

    @abstractmethod
    def _answered(self, body: bytes | None) -> None:
        """The call is up; `body` is as in `events.Answered`."""

    # Offers and answers.

    def _take_answer(self, body: bytes | None) -> bool:
        """An answer to an offer of ours; one that cannot be used ends the call."""
        try:
            self._media.take_answer(body or b"")
        except SdpError:
            self._emit(LegEnded("bad_answer"))
            self.hang_up()
            return False
        return True

    def _reoffered(self, body: bytes | None) -> None:
        """A new offer inside the call: hold, resume, a new address, a new codec."""
        if body is None:
            answer = self._media.offer()
        else:
            try:
                answer = self._answer_to(parse(body))
            except SdpError as error:
                status, headers = error.status, warning_header(error.warning)
                self._signalling.act(
                    lambda agent, now: agent.refuse_offer(
                        self.dialog_id, status, now, headers=headers
                    )
                )
                return
        self._signalling.act(lambda agent, now: agent.answer_offer(self.dialog_id, answer, now))

    def _answer_to(self, offer: SessionDescription) -> bytes:
        """The answer to a new offer. Raises SdpError."""
        return self._media.answer_again(offer)

    async def _open_media(self) -> MediaPort:
        """Bind what media needs.

        Raises:
            LegError: 503 no_media_port; 487 leg_ended, it did so meanwhile.
        """
        port = await self._media.open()
        if self._outlet.ended:
            await self._media.close()
            raise LegError(487, "leg_ended")
        return port


def warning_header(warning: str | None) -> tuple[tuple[str, str], ...]:
    """What a refusal says about the session description that it refuses."""
    return () if warning is None else (("Warning", warning),)
