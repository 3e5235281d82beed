"""Whom we call, and by which way: a trunk for numbers, the peer itself for what is within reach.

Nobody may be called whom the operator has not named: the trunk, or addresses within the networks
that SIP is exchanged with. A host name is followed only when it is the trunk's, because what
another one resolves to is not ours to say.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote

from gateway.legs.leg import CallOrder, Headers, LegError
from gateway.legs.sip_outgoing import DialPlan
from gateway.reach import Network, usable_host
from gateway.sip.trunk import Trunk, trunk_for
from gateway.sip.uri import NameAddr, SipUri, UriError, format_host

_AGENT = "agent"
_PORT = 5060
_PLAIN = "+-._~!$&'()*,"
"""What stands in the user part of a URI as it is."""
_VISUAL = str.maketrans("", "", "-.() ")
_NOBODY: Final = "sip:anonymous@anonymous.invalid"
"""RFC 3323 section 4.1.1.3."""
_IDENTITIES: Final = {"asserted": "P-Asserted-Identity", "preferred": "P-Preferred-Identity"}


def _nowhere(_: str) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class DialRules:
    """What the operator allows."""

    host: str
    """Our own, for callers who are nobody in particular."""
    ports: Sequence[int] = ()
    """Of our own SIP, so that the line does not call itself."""
    trunks: Sequence[Trunk] = ()
    allow: Sequence[Network] | None = None
    """Addresses that may be called directly; None for any that the leg can reach."""
    redirects: int = 0
    """How many further targets of one call are tried that a 3xx names."""
    follows: Callable[[str], str | None] = _nowhere
    """Such a target as `CallOrder` has it; None if it may not be called."""
    other_host: str = ""
    """Ours of the other IP family; "": none."""


def plan_call(order: CallOrder, rules: DialRules) -> DialPlan:
    """The way to whom the order is for.

    Raises:
        LegError: 403 not_allowed, own_line or unusable_host, 400 no_trunk or bad_target.
    """
    target, trunks = order.target, rules.trunks
    if target.startswith("tel:"):
        number = _number(target)
        trunk = trunk_for(number, trunks)
        if trunk is None:
            raise LegError(400, "no_trunk")
        return _by_trunk(number, order, trunk)
    try:
        uri = SipUri.parse(target)
    except UriError:
        raise LegError(400, "bad_target") from None
    for trunk in trunks:
        if uri.host.lower() == trunk.host.lower():
            return _by_trunk(uri.user or _AGENT, order, trunk)
    if (uri.param("transport") or "udp").lower() not in ("udp", "tcp", "tls"):
        raise LegError(400, "bad_target")
    if not _may_call(uri.host, rules.allow):
        raise LegError(403, "not_allowed")
    if _is_own(uri.host, rules) and (uri.port or _PORT) in rules.ports:
        raise LegError(403, "own_line")
    if _is_literal(uri.host) and not usable_host(uri.host, rules.host):
        raise LegError(403, "unusable_host")
    return _plan(target, order, _identity(order.caller, rules.host), ())


def _by_trunk(user: str, order: CallOrder, trunk: Trunk) -> DialPlan:
    own = order.caller
    if own is None and trunk.credentials is not None:
        own = f"sip:{quote(trunk.credentials.username, _PLAIN)}@{format_host(trunk.host)}"
    identity = _identity(own, trunk.host)
    told: Headers = ()
    if own is not None and trunk.identity:
        told = ((_IDENTITIES[trunk.identity], str(_named(order.caller_name, identity))),)
    return _plan(f"sip:{user}@{format_host(trunk.host)}", order, identity, told, trunk)


def _plan(
    target: str, order: CallOrder, identity: str, told: Headers, trunk: Trunk | None = None
) -> DialPlan:
    """`told` is who we are, for one who is trusted not to tell it to whom it is kept from."""
    hidden: Headers = (("Privacy", "id"),) if order.anonymous else ()
    return DialPlan(
        target=target,
        from_uri=_NOBODY if order.anonymous else identity,
        from_name="Anonymous" if order.anonymous else order.caller_name,
        hop=None if trunk is None else trunk.hop,
        credentials=None if trunk is None else trunk.credentials,
        headers=(*told, *hidden, *order.headers),
        replaces=order.replaces,
        referred_by=order.referred_by,
        trunk=trunk,
        law=order.law,
    )


def _named(name: str, uri: str) -> NameAddr:
    try:
        return NameAddr(name, uri)
    except UriError:
        raise LegError(400, "bad_target") from None


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


def _is_own(host: str, rules: DialRules) -> bool:
    if not _is_literal(host):
        return host.lower() in (rules.host, "localhost")
    return ip_address(host) in {ip_address(one) for one in _own_addresses(rules)}


def _own_addresses(rules: DialRules) -> Iterator[str]:
    return filter(_is_literal, (rules.host, rules.other_host))


def _may_call(host: str, allow: Sequence[Network] | None) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return allow is None and host.lower() == "localhost"
    return allow is None or any(address in network for network in allow)
