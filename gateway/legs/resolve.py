"""From the name of a host to the address that a call is sent to."""

import asyncio
import socket
from ipaddress import ip_address

from gateway.legs.leg import LegError
from gateway.legs.reach import usable_host

_TIMEOUT_S = 5.0
_NOT_CERTAIN = (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_MEMORY, socket.EAI_SYSTEM)


async def resolve(host: str, bind_host: str) -> str:
    """The first address of `host`, a name or an IP literal, that may be called from `bind_host`.

    It is of the family of `bind_host`, because that is what our sockets reach, and spelled as the
    system spells the addresses of sockets.

    Raises:
        LegError: 404 unknown_host, the name has no such address; 502 unresolved, nobody could tell
            in time; 403 unusable_host, no call may be sent to any of its addresses.
    """
    family = socket.AF_INET6 if ":" in bind_host else socket.AF_INET
    literal = _literal(host, family)
    addresses = [literal] if literal else await _look_up(host, family)
    for address in addresses:
        if usable_host(address, bind_host) and not _is_beyond(address, bind_host):
            return address
    raise LegError(403, "unusable_host")


def _is_beyond(address: str, bind_host: str) -> bool:
    """Whether a socket that is bound to the loopback would have to leave this machine."""
    return ip_address(bind_host).is_loopback and not ip_address(address).is_loopback


def _literal(host: str, family: socket.AddressFamily) -> str | None:
    """The same address as the system writes it; None for a name."""
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, host))
    except (OSError, ValueError):
        return None


async def _look_up(host: str, family: socket.AddressFamily) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            # One kind of socket, or each address would come once for every kind.
            found = await loop.getaddrinfo(host, None, family=family, type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        if error.errno in _NOT_CERTAIN:
            raise LegError(502, "unresolved") from None
        raise LegError(404, "unknown_host") from None
    except UnicodeError:
        raise LegError(404, "unknown_host") from None  # a label of it is too long for any name
    except (OSError, TimeoutError):
        raise LegError(502, "unresolved") from None
    return [str(address[0]) for *_, address in found]
