"""A SIP caller as a leg.

The offer is looked at when the leg is made, so that a caller who cannot be served is told so before
anything else is tried; after that an answer can only fail for want of a port. With a late offer (an
INVITE without SDP) our 200 carries the offer and the ACK its answer.
"""

import asyncio
from typing import Final

from gateway.audio.comfort import Prompt
from gateway.audio.loop import Loop
from gateway.legs.leg import Headers, LegEnded, LegError, MediaPort
from gateway.legs.leg_media import MediaConfig
from gateway.legs.plain_media import PlainMedia
from gateway.legs.sip_leg import Signalling, SipLeg, warning_header
from gateway.legs.webrtc_media import WebRtcMedia
from gateway.sdp.description import SdpError, parse
from gateway.sdp.webrtc import is_webrtc
from gateway.sip.events import IncomingCall


class SipIncomingLeg(SipLeg):
    """One call that came in."""

    direction: Final = "inbound"

    def __init__(self, signalling: Signalling, incoming: IncomingCall, media: MediaConfig) -> None:
        super().__init__(
            signalling,
            media,
            dialog_id=incoming.dialog_id,
            sip_call_id=incoming.call_id,
            peer_host=incoming.source.host,
            headers=incoming.headers,
            caller=incoming.from_uri,
            callee=incoming.to_uri,
            private=incoming.source.is_private,
        )
        self.fault: LegError | None = None
        """Why this caller cannot be served."""
        self.replaces = incoming.replaces
        self._warning: str | None = None
        self._early: asyncio.Task[MediaPort | None] | None = None
        self._late = incoming.offer is None  # the ACK brings the answer to an offer of ours
        if incoming.offer is not None:
            self._look_at(incoming.offer)

    def ring(self) -> None:
        early = self._config.early
        if early is None or self._late or not isinstance(self._media, PlainMedia):
            self._signalling.act(lambda agent, now: agent.ring(self.dialog_id, now))
        elif self._early is None:
            self._early = asyncio.get_running_loop().create_task(self._ring_early(early))

    async def _ring_early(self, early: Prompt) -> MediaPort | None:
        """Let the caller hear something of ours already; where that cannot be, ring."""
        try:
            port = await self._open_media()
        except LegError:
            self._signalling.act(lambda agent, now: agent.ring(self.dialog_id, now))
            return None
        port.playout.background = Loop(early.in_format(port.format))
        body = self._media.answer()
        self._signalling.act(lambda agent, now: agent.progress(self.dialog_id, 183, body, now))
        return port

    async def answer(self, headers: Headers = ()) -> MediaPort:
        port = None if self._early is None else await asyncio.shield(self._early)
        if port is None:
            port = await self._open_media()
        port.playout.background = None
        body = self._media.offer() if self._late else self._media.answer()
        self._signalling.act(
            lambda agent, now: agent.accept(self.dialog_id, body, now, headers=headers)
        )
        self._has_said_yes = True
        return port

    async def close(self) -> None:
        if self._early is not None:
            self._early.cancel()
            await asyncio.gather(self._early, return_exceptions=True)
            self._early = None  # its result, the port, knows this leg
        await super().close()

    def reject(self, status: int, retry_after_s: int | None = None, headers: Headers = ()) -> None:
        told = (*warning_header(self._warning), *headers)
        if retry_after_s is not None:
            told += (("Retry-After", str(retry_after_s)),)
        self._signalling.act(
            lambda agent, now: agent.reject(self.dialog_id, status, now, headers=told)
        )

    def _look_at(self, offer: bytes) -> None:
        """Learn whether the offer can be served, and with what."""
        try:
            description = parse(offer)
            webrtc = self._config.webrtc
            if webrtc is not None and is_webrtc(description):
                self._media = WebRtcMedia(
                    self._config, webrtc, self._media_event, connected=_connected, gone=self._gone
                )
            self._media.look_at(description)
        except SdpError as error:
            self.fault = LegError(error.status, "unacceptable_media")
            self._warning = error.warning

    def _gone(self, reason: str) -> None:
        """The peer connection is lost: on a line that leads nowhere nobody is left."""
        self._emit(LegEnded(reason))
        self.hang_up()

    def _answered(self, body: bytes | None) -> None:
        """The ACK came."""
        if self._late and not self._take_answer(body):
            return
        self._answered_by_both()


def _connected() -> None:
    """Of a SIP call the ACK tells that it is answered."""
