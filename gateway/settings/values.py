"""What the values of settings may be: their checks, and what is said of them."""

import ipaddress
import json
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field

from gateway.calls.targets import check_pattern
from gateway.realtime.config import check_session
from gateway.realtime.errors import RealtimeError
from gateway.sip.trunk import Trunk
from gateway.webhooks.sign import key_of
from gateway.webhooks.target import check_webhook_url


class Fault(ValueError):
    """What is wrong with a value, in words that quote nothing of it."""


class Meaning(NamedTuple):
    """What `.env.example` and error lines say of a setting."""

    text: str
    allowed: str
    secret: bool = False
    url: bool = False
    """User and query of its value may hold keys: error lines leave them out."""
    reserved: bool = False
    """The name is fixed, the feature is not there yet: only the default is taken."""


def session_json(value: str) -> str:
    try:
        session = json.loads(value)
    except json.JSONDecodeError as error:
        raise Fault(f"is not JSON at character {error.pos + 1}") from None
    except (ValueError, RecursionError):
        raise Fault("holds too long a number or is nested too deeply") from None
    if not isinstance(session, dict):
        raise Fault("is JSON but no object")
    try:
        check_session(session)
    except RealtimeError as error:
        raise Fault(f"is no session config: see {error.param}") from None
    return value


def keys(value: str) -> str:
    for key in parts(value):
        if not key.isascii() or not key.isprintable() or " " in key:
            raise Fault("holds a key with blanks or other than ASCII characters")
        if key.startswith("ek_"):
            raise Fault("holds a key that begins with ek_, as client secrets do")
    return value


def targets(value: str) -> str:
    for pattern in parts(value):
        check_pattern(pattern)
    return value


def networks(value: str) -> str:
    for network in parts(value):
        ipaddress.ip_network(network)
    return value


def ip(value: str) -> str:
    ipaddress.ip_address(value)
    return value


def ws_url(value: str) -> str:
    if not value.startswith(("ws://", "wss://")):
        raise ValueError("not a WebSocket URL")
    return value


def absent(value: str) -> str:
    if value:
        raise ValueError("not served yet")
    return value


def webhook_url(value: str) -> str:
    fault = check_webhook_url(value)
    if fault:
        raise Fault(fault)
    return value


def webhook_secrets(value: str) -> str:
    for secret in parts(value):
        try:
            key_of(secret)
        except ValueError as error:
            raise Fault(f"holds a secret that cannot be used: {error}") from None
    return value


def trunk(value: str) -> str:
    try:
        Trunk.parse(value)
    except ValueError as error:
        raise Fault(f"is no trunk ({error})") from None
    return value


def auth(value: str) -> str:
    kind, _, name = value.partition(":")
    if value != "bearer" and (kind not in ("header", "query") or not name):
        raise ValueError("not an auth form")
    return value


Absent = Annotated[str, AfterValidator(absent)]
Off = Annotated[int, Field(ge=0, le=0)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400)]
PORT = "0 to 65535"
SECONDS = "seconds, above 0"
URL = "a ws:// or wss:// URL"


def parts(value: str) -> list[str]:
    """The parts of a value that, when it is not empty, must have some: who leaves a variable in
    `${A},${B}` unset means no freedom for all."""
    found = split(value)
    if value and not found:
        raise Fault("holds nothing between its commas")
    return found


def split(value: str) -> list[str]:
    """The parts of a comma-separated setting."""
    return [part.strip() for part in value.split(",") if part.strip()]
