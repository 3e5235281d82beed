"""Whom a call may be made or transferred to. Pure.

A target goes into the Refer-To header of a REFER or becomes the address of an INVITE, where a URI
can say much more than whom to call: add headers, choose a method, name another host to send to. So
only what names somebody passes. Numbers are judged by their form; which of them cost money is for
`target_allowed`.

    tel:+15551234567   tel:+1-555-123-4567;ext=12   tel:1234;phone-context=example.com   (RFC 3966)
    sip:user@host      sip:host:5080                sip:+15551234567@host;transport=tls
"""

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple
from urllib.parse import unquote

from gateway.realtime.errors import RealtimeError, invalid_type, missing, unfit
from gateway.realtime.validation import check_json

_MAX_LENGTH: Final = 1024
_MAX_GLOBAL_DIGITS: Final = 15  # E.164
_MAX_LOCAL_DIGITS: Final = 20
_FORM: Final = "a URI like 'tel:+15551234567' or 'sip:user@host'"

_SEPARATORS = str.maketrans("", "", "-.()")
_NUMBER = r"\+?[0-9\-.()]+"
_TEL = re.compile(rf"(?P<number>{_NUMBER})(?P<params>(?:;[^;]*)*)")
_TEL_PARAMS = {
    "ext": re.compile(r"[0-9\-.()]{1,32}"),
    "phone-context": re.compile(rf"{_NUMBER}|[A-Za-z0-9\-.]{{1,253}}"),
}
# RFC 3261 allows , ; ? / in a user too. Each of them is what some parser splits a URI at.
_USER = r"(?:[A-Za-z0-9\-_.!~*'()&=+$]|%[0-9A-Fa-f]{2})+"
_SIP = re.compile(
    rf"(?:(?P<user>{_USER})@)?(?P<host>[A-Za-z0-9\-._]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<params>(?:;[^;]*)*)"
)
_SIP_PARAM = re.compile(r"[A-Za-z0-9\-_.!~*'()+$]+(?:=[A-Za-z0-9\-_.!~*'()+$:/\[\]]+)?")
_STEERING = {"maddr", "method", "ttl", "lr", "received", "rport"}
"""Parameters that send a request elsewhere or make another one of it."""
_STRUCTURE = set('@:;?%<>"\\,')
"""Not even escaped in a user: somebody on the way may decode it before it is split."""
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9\-_]*[A-Za-z0-9_])?")
_PATTERN = re.compile(
    rf"tel:\+?[0-9\-.()]*\*?|sip:(?:(?:{_USER})?\*?@)?(?:[A-Za-z0-9\-._]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?"
)
_DEFAULT_PORTS = (None, 5060, 5061)


class _Target(NamedTuple):
    scheme: str
    user: str
    """Of a tel URI its number. Unescaped, without visual separators where it is a number."""
    host: str
    """Lower case; "" for a tel URI."""
    port: int | None
    elsewhere: bool
    """A tel URI whose meaning depends on a `phone-context`."""


def check_target(text: object, param: str) -> str:
    """Check a target.

    Args:
        param: the path that an error names.

    Returns:
        The target as it came, its scheme in lower case.

    Raises:
        RealtimeError: it is not of the form, or asks for more than a call.
    """
    check_json(text, param)
    if text is None:
        raise missing(param)
    if not isinstance(text, str):
        raise invalid_type(param, text, "a string")
    if len(text) > _MAX_LENGTH:
        raise unfit(
            param,
            "string too long",
            f"a string with maximum length {_MAX_LENGTH}",
            got=f"a string with length {len(text)}",
            code="string_above_max_length",
        )
    try:
        target = _parsed(text)
    except ValueError as error:
        raise unfit(param, str(error), _FORM) from None
    return target.scheme + text[len(target.scheme) :]


def target_allowed(target: str, prefixes: Iterable[str]) -> bool:
    """Whether a policy lets a checked target be called.

    Args:
        prefixes: `tel:+49` (numbers that begin so), `sip:*@example.com` (anybody there),
            `sip:+1*@example.com` (users that begin so), `sip:alice@example.com`. A host is meant
            exactly, at its default port or at the one given. None at all allow everything.
    """
    patterns = list(prefixes)
    if not patterns:
        return True
    try:
        wanted = _parsed(target)
    except ValueError:
        return False
    return any(_matches(wanted, pattern.strip()) for pattern in patterns)


def check_allowed(target: str, prefixes: Iterable[str], param: str) -> None:
    """Raise RealtimeError, about `param`, unless the policy lets a checked target be called."""
    if not target_allowed(target, prefixes):
        raise RealtimeError(
            "This line may not call that target.", code="target_not_allowed", param=param
        )


def allowed_contact(
    uri: str, prefixes: Iterable[str], number_hosts: Iterable[str] = ()
) -> str | None:
    """A target that somebody else named (the Contact of a 3xx), as `check_target` returns it.

    Args:
        prefixes: as for `target_allowed`, but none at all allow nothing: who is called must not
            choose among all that others would carry for us.
        number_hosts: of trunks; a number there is one anywhere, and may be allowed as such.

    Returns:
        None for what is no target, or may not be called.
    """
    patterns = list(prefixes)
    scheme, _, rest = uri.partition(":")
    number, _, host = rest.partition(";")[0].partition("@")
    host = host.partition(":")[0].lower()
    named = {one.lower() for one in number_hosts}
    for target in (uri, *([f"tel:{number}"] if scheme.lower() == "sip" and host in named else [])):
        try:
            checked = check_target(target, "target")
        except RealtimeError:
            continue
        if patterns and target_allowed(checked, patterns):
            return checked
    return None


def _parsed(text: str) -> _Target:
    """Raises ValueError, whose text says what is wrong."""
    if not text:
        raise ValueError("empty string")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("characters that no URI may hold")
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if colon and scheme == "tel":
        return _parsed_tel(rest)
    if colon and scheme == "sip":
        return _parsed_sip(rest)
    raise ValueError("unsupported scheme")


def _parsed_tel(rest: str) -> _Target:
    match = _TEL.fullmatch(rest)
    if match is None:
        raise ValueError("malformed number")
    number = match["number"].translate(_SEPARATORS)
    if not number.removeprefix("+"):
        raise ValueError("number without digits")
    most = _MAX_GLOBAL_DIGITS + 1 if number.startswith("+") else _MAX_LOCAL_DIGITS
    if len(number) > most:
        raise ValueError("number too long")
    params = _params(match["params"])
    for name, value in params.items():
        form = _TEL_PARAMS.get(name)
        if form is None:
            raise ValueError("a parameter that a target may not have")
        if not form.fullmatch(value):
            raise ValueError(f"malformed parameter '{name}'")
    if "phone-context" in params and number.startswith("+"):
        raise ValueError("a context for a global number")
    return _Target("tel", number, "", None, "phone-context" in params)


def _parsed_sip(rest: str) -> _Target:
    match = _SIP.fullmatch(rest)
    if match is None:
        raise ValueError("malformed SIP URI, or one with headers or a password")
    host = match["host"].lower()
    _check_host(host)
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 1 <= port <= 65535:
        raise ValueError("port out of range")
    for part in match["params"].split(";")[1:]:
        if not _SIP_PARAM.fullmatch(part):
            raise ValueError("malformed parameter")
    if _STEERING & _params(match["params"]).keys():
        raise ValueError("a parameter that a target may not have")
    return _Target("sip", _plain_user(match["user"] or ""), host, port, False)


def _params(text: str) -> dict[str, str]:
    """`;name=value;name`, names in lower case. Raises ValueError for a name that comes twice."""
    params: dict[str, str] = {}
    for part in text.split(";")[1:]:
        name, _, value = part.partition("=")
        if name.lower() in params:
            raise ValueError("a parameter that stands twice")
        params[name.lower()] = value
    return params


def _plain_user(user: str) -> str:
    if "%" not in user:
        return user
    plain = unquote(user, errors="strict")
    if not plain.isprintable() or _STRUCTURE & set(plain) or " " in plain:
        raise ValueError("an escaped character that a target may not have")
    return plain


def _check_host(host: str) -> None:
    """A name or an address in its usual form; not 127.1, 0x7f.1 or 2130706433 (RFC 3261, 25.1)."""
    try:
        if host.startswith("["):
            IPv6Address(host[1:-1])
            return
        labels = host.split(".")
        if labels[-1][:1].isalpha():
            if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
                raise ValueError("malformed host")
            return
        IPv4Address(host)
    except AddressValueError:
        raise ValueError("malformed host") from None


def check_pattern(pattern: str) -> None:
    """Raise ValueError for what `target_allowed` could match nothing with."""
    if not _PATTERN.fullmatch(pattern) or "%" in pattern:
        raise ValueError("not a pattern of targets")


def _matches(target: _Target, pattern: str) -> bool:
    scheme, _, rest = pattern.partition(":")
    if scheme.lower() != target.scheme:
        return False
    if target.scheme == "tel":
        prefix = rest.removesuffix("*").translate(_SEPARATORS)
        return target.user.startswith(prefix) and not (target.elsewhere and prefix)
    user, _, address = rest.rpartition("@")
    host, port = _address(address)
    if host != target.host:
        return False
    if port != target.port and not (port is None and target.port in _DEFAULT_PORTS):
        return False
    if user.endswith("*"):
        return _begins(target.user, user[:-1])
    return target.user == user


def _address(text: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"(.+?)(?::([0-9]{1,5}))?", text)
    if match is None:
        return "", None
    return match[1].lower(), None if match[2] is None else int(match[2])


def _begins(user: str, prefix: str) -> bool:
    """Numbers are compared without what only makes them readable."""
    if re.fullmatch(_NUMBER, prefix):
        user, prefix = user.translate(_SEPARATORS), prefix.translate(_SEPARATORS)
    return user.startswith(prefix)
