"""ICE servers, as `RTCPeerConnection` takes them: what is told to browsers, and what we use of it.

Pure. Browsers are told all of them. For ourselves one STUN and one TURN server are enough.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

_URL: Final = re.compile(
    r"(?P<scheme>stuns?|turns?):(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(?::(?P<port>\d{1,5}))?"
    r"(?:\?transport=(?P<transport>udp|tcp))?"
)
_PORT: Final = 3478
_TLS_PORT: Final = 5349
_FIELDS: Final = frozenset({"urls", "username", "credential"})


@dataclass(frozen=True, slots=True)
class TurnServer:
    """A relay (RFC 8656)."""

    host: str
    port: int
    transport: str
    """To the server: `udp` or `tcp`."""
    tls: bool
    username: str
    credential: str


@dataclass(frozen=True, slots=True)
class IceServers:
    """All that are configured."""

    told: tuple[dict[str, Any], ...] = ()
    """For browsers, as they were written."""
    stun: tuple[str, int] | None = None
    turn: TurnServer | None = None


def parse_ice_servers(text: str) -> IceServers:
    """Read a JSON list such as `[{"urls": "stun:stun.example.org"}]`; "" is none.

    Raises:
        ValueError: what is wrong with it, in words that quote nothing of it.
    """
    if not text.strip():
        return IceServers()
    try:
        servers = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON at character {error.pos + 1}") from None
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(servers, list):
        raise ValueError("is JSON but no list")
    stun: tuple[str, int] | None = None
    turn: TurnServer | None = None
    for number, server in enumerate(servers, 1):
        for scheme, host, port, transport in _urls(server, f"server {number}"):
            if scheme == "stun" and stun is None:
                stun = host, port
            elif scheme.startswith("turn") and turn is None:
                turn = TurnServer(
                    host,
                    port,
                    transport,
                    scheme == "turns",
                    server["username"],
                    server["credential"],
                )
    return IceServers(tuple(servers), stun, turn)


def _urls(server: Any, name: str) -> list[tuple[str, str, int, str]]:
    """Scheme, host, port and transport of each URL of a server."""
    if not isinstance(server, dict):
        raise ValueError(f"has a {name} that is no object")
    if not set(server) <= _FIELDS:
        raise ValueError(f"has a {name} with other fields than urls, username and credential")
    urls = server.get("urls")
    found = []
    for url in urls if isinstance(urls, list) and urls else [urls]:
        match = _URL.fullmatch(url) if isinstance(url, str) else None
        if match is None or not 0 < int(match["port"] or _PORT) < 65_536:
            raise ValueError(f"has a {name} without a stun: or turn: URL")
        scheme = match["scheme"]
        secret = [server.get("username"), server.get("credential")]
        if scheme.startswith("turn") and not all(isinstance(one, str) and one for one in secret):
            raise ValueError(f"has a {name} of TURN without username and credential")
        tls = scheme.endswith("s")
        port = int(match["port"] or (_TLS_PORT if tls else _PORT))
        transport = match["transport"] or ("tcp" if tls else "udp")
        found.append((scheme, match["host"].strip("[]"), port, transport))
    return found
