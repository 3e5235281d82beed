"""What one client may take up."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on connections and bodies.

    Args:
        body_bytes: of a request body, after decompression. Several times the longest instructions
            with many tools; reading and checking what is built to be slow takes some 0.1 s for so
            much, in which no call is served.
        body_s: for reading a body.
        keepalive_s: without a complete request head on a connection.
        lingering_s: how long the rest of a body that nobody wants is read, so that the client
            sees the answer before the connection ends.
        connections: open at once from one address (IPv6: from one /64). A WebSocket counts too,
            so an application that controls many calls needs room.
    """

    body_bytes: int = 256 << 10
    body_s: float = 10.0
    keepalive_s: float = 15.0
    lingering_s: float = 1.0
    connections: int = 1024


LIMITS: Final = web.AppKey("limits", Limits)
