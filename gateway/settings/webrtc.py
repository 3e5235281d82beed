"""Settings of calls over WebRTC."""

from typing import Annotated, Final

from pydantic import AfterValidator

from gateway.settings import values
from gateway.settings.values import Group, Meaning

_CODECS: Final = "opus, pcmu and pcma, comma-separated, or off"


class WebRtcSettings(Group):
    webrtc_host: Annotated[
        str,
        AfterValidator(lambda value: value and values.one_host(value)),
        Meaning(
            "address that browsers' media comes to, at the ports of GATEWAY_RTP_PORT_MIN to _MAX; "
            "empty: every address of this host",
            "an IP address of this host",
        ),
    ] = ""
    webrtc_advertised_host: Annotated[
        str,
        AfterValidator(lambda value: value and values.one_host(value)),
        Meaning(
            "public address that browsers are told instead, where a NAT passes those ports on to "
            "this host; with several addresses set GATEWAY_WEBRTC_HOST too",
            "an IP address",
        ),
    ] = ""
    webrtc_ice_servers: Annotated[
        str,
        AfterValidator(values.ice_servers),
        Meaning(
            "STUN and TURN servers for both sides: the softphone is told all of them, the gateway "
            "uses the first of each kind",
            'a JSON list like [{"urls": "turn:relay.example.org", "username": "u", '
            '"credential": "p"}]',
            secret=True,
        ),
    ] = ""
    webrtc_codecs: Annotated[
        str,
        AfterValidator(values.webrtc_codecs),
        Meaning(
            "codecs that may be agreed on; of these the browser prefers one; off: no WebRTC at all",
            _CODECS,
        ),
    ] = "opus,pcmu,pcma"
