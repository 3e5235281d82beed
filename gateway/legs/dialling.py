"""Whom we call, and by which way: a trunk for numbers, the peer itself for what is within reach.

Nobody may be called whom the operator has not named: the trunk, or addresses within the networks
that SIP is exchanged with. A host name is followed only when it is the trunk's, because what
another one resolves to is not ours to say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote

from gateway.legs.leg import LegError
from gateway.legs.sip_outgoing import DialPlan
from gateway.reach import Network, usable_host
from gateway.sip.message import Address
from gateway.sip.trunk import Trunk
from gateway.sip.uri import SipUri, UriError, format_host

_AGENT = "agent"
_PORT = 5060
_PLAIN = "+-._~!$&'()*,"
"""What stands in the user part of a URI as it is."""
_VISUAL = str.maketrans("", "", "-.() ")


@dataclass(frozen=True, slots=True)
class DialRules:
    """What the operator allows."""

    host: str
    """Our own, for callers who are nobody in particular."""
    ports: Sequence[int] = ()
    """Of our own SIP, so that the line does not call itself."""
    trunk: Trunk | None = None
    allow: Sequence[Network] | None = None
    """Addresses that may be called directly; None for any that the leg can reach."""


def plan_call(target: str, caller: str | None, rules: DialRules) -> DialPlan:
    """The way to `target` (a checked `tel:` or `sip:` URI), as `caller` of the same form or None.

    Raises:
        LegError: 403 not_allowed, own_line or unusable_host, 400 no_trunk or bad_target.
    """
    trunk = rules.trunk
    if target.startswith("tel:"):
        if trunk is None:
            raise LegError(400, "no_trunk")
        return _by_trunk(_number(target), caller, trunk)
    try:
        uri = SipUri.parse(target)
    except UriError:
        raise LegError(400, "bad_target") from None
    if trunk is not None and uri.host.lower() == trunk.host.lower():
        return _by_trunk(uri.user or _AGENT, caller, trunk)
    if (uri.param("transport") or "udp").lower() not in ("udp", "tcp", "tls"):
        raise LegError(400, "bad_target")
    if not _may_call(uri.host, rules.allow):
        raise LegError(403, "not_allowed")
    if uri.host.lower() in (rules.host, "localhost") and (uri.port or _PORT) in rules.ports:
        raise LegError(403, "own_line")
    if _is_literal(uri.host) and not usable_host(uri.host, rules.host):
        raise LegError(403, "unusable_host")
    return DialPlan(target=target, from_uri=_identity(caller, rules.host))


def _by_trunk(user: str, caller: str | None, trunk: Trunk) -> DialPlan:
    own = caller
    if own is None and trunk.credentials is not None:
        own = f"sip:{quote(trunk.credentials.username, _PLAIN)}@{format_host(trunk.host)}"
    return DialPlan(
        target=f"sip:{user}@{format_host(trunk.host)}",
        from_uri=_identity(own, trunk.host),
        hop=Address(
            trunk.host,
            trunk.port,
            trunk.transport,
            trunk.host if trunk.transport == "tls" else "",
        ),
        credentials=trunk.credentials,
    )


def _identity(caller: str | None, host: str) -> str:
    """The URI of From: a number is one of `host`."""
    if caller is None:
        return f"sip:{_AGENT}@{format_host(host)}"
    if caller.startswith("tel:"):
        return f"sip:{_number(caller)}@{format_host(host)}"
    return caller


def _number(uri: str) -> str:
    """The digits of a `tel:` URI, without parameters and visual separators (RFC 3966)."""
    return uri.removeprefix("tel:").partition(";")[0].translate(_VISUAL)


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _may_call(host: str, allow: Sequence[Network] | None) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return allow is None and host.lower() == "localhost"
    return allow is None or any(address in network for network in allow)
