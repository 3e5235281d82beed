"""A browser, or whatever else posts an offer of WebRTC, as a leg.

There is no signalling but the one answer, so the call is answered when the answer is handed out,
and the conversation begins when the peer connection is there. It ends with that connection, or when
the caller closes the data channel.
"""

from collections.abc import Callable
from typing import Final

from gateway.audio.formats import AudioFormat
from gateway.legs.leg import (
    EventChannel,
    Headers,
    KeysError,
    Leg,
    LegAnswered,
    LegEnded,
    LegError,
    LegEvent,
    MediaPort,
    OfferError,
)
from gateway.legs.leg_media import MediaConfig
from gateway.legs.outlet import Outlet
from gateway.legs.webrtc_media import WebRtcMedia
from gateway.sdp.description import SdpError, parse


class WebRtcLeg:
    """One peer connection.

    Args:
        offer: what the caller posted.

    Raises:
        OfferError: it cannot be served.
    """

    kind: Final = "webrtc"
    dialog_id: Final = ""
    sip_call_id: Final = ""
    replaces: Final = ""
    direction: Final = "inbound"
    headers: Final = ()
    caller: Final = ""
    callee: Final = ""
    contact: Final = ""

    def __init__(self, offer: bytes, media: MediaConfig) -> None:
        if media.webrtc is None:
            raise OfferError("WebRTC is off here", "webrtc_off")
        self.description = b""
        self._outlet = outlet = Outlet()
        self._media = WebRtcMedia(
            media,
            media.webrtc,
            outlet.emit,
            connected=lambda: outlet.emit(LegAnswered()),
            gone=lambda reason: outlet.emit(LegEnded(reason)),
            with_channel=True,
        )
        try:
            self._media.look_at(parse(offer))
        except SdpError as error:
            raise OfferError(str(error)) from None

    @property
    def codec(self) -> str:
        return self._media.codec

    @property
    def format(self) -> AudioFormat:
        return self._media.format

    @property
    def media_security(self) -> str:
        return self._media.media_security

    @property
    def channel(self) -> EventChannel:
        return self._media.channel

    def listen(self, listener: Callable[[LegEvent], None]) -> None:
        self._outlet.listen(listener)

    def ring(self) -> None:
        """Nobody hears ringing: the caller waits for the answer."""

    async def answer(self, headers: Headers = ()) -> MediaPort:
        port = await self._media.open()
        self.description = self._media.answer()
        return port

    def reject(self, status: int, retry_after_s: int | None = None, headers: Headers = ()) -> None:
        """Whoever posted the offer is told by the API."""
        self.hang_up()

    def refer(self, target_uri: str, replaces: Leg | None = None, headers: Headers = ()) -> None:
        raise LegError(400, "bad_target")

    def answer_refer(self, refer_id: str, status: int) -> None:
        """A browser asks for none."""

    def report_refer(self, refer_id: str, status: int, *, over: bool) -> None:
        """Nobody waits for it."""

    def press(self, keys: str) -> None:
        if not self._media.press(keys):
            raise KeysError(400, "no_digits")

    def hang_up(self, headers: Headers = ()) -> None:
        self._outlet.emit(LegEnded("local_bye"))

    async def close(self) -> None:
        self._outlet.close()
        await self._media.close()
