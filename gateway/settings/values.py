"""What the values of settings may be: their checks, and what is said of them."""

import ipaddress
import json
import re
from pathlib import Path
from typing import Annotated, Final, NamedTuple, get_args
from urllib.parse import unquote

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.backend.dialogue import DialogueError
from gateway.backend.dialogue_parse import parse_dialogue
from gateway.calls.targets import check_pattern, check_target
from gateway.realtime.config import check_session
from gateway.realtime.errors import RealtimeError
from gateway.sdp.webrtc import AudioCodecName
from gateway.sip.account import Account
from gateway.sip.challenge import ALGORITHMS
from gateway.sip.trunk import parse_trunks
from gateway.upstream.presets import PRESETS
from gateway.upstream.target import (
    check_auth,
    check_model,
    check_url,
    has_unknown_placeholder,
    parse_format,
    parse_headers,
)
from gateway.webhooks.sign import key_of
from gateway.webhooks.target import check_webhook_url
from gateway.webrtc.servers import parse_ice_servers

PREFIX: Final = "GATEWAY_"
_WITH_PORT: Final = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[0-9.]+)):(?P<port>[0-9]{1,5})")
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.\[\]:-]+")
_MAX_REGISTRATIONS: Final = 32
_DOTTED: Final = re.compile(r"[a-z_]+(\.[a-z_]+)*")


class Group(BaseSettings):
    """Settings that belong together."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore")


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


def key(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise Fault("holds a key that no header can carry")
    return value


def targets(value: str) -> str:
    for pattern in parts(value):
        check_pattern(pattern)
    return value


def networks(value: str) -> str:
    for network in parts(value):
        ipaddress.ip_network(network)
    return value


def parse_name_servers(value: str) -> tuple[tuple[str, int], ...]:
    """(IP address, port) of each. Raises ValueError."""
    found = []
    for text in parts(value):
        match = _WITH_PORT.fullmatch(text)
        host, port = (text, "53")
        if match is not None:
            host, port = match["six"] or match["four"], match["port"]
        if not 0 < int(port) < 65_536:
            raise ValueError("no port")
        found.append((str(ipaddress.ip_address(host)), int(port)))
    return tuple(found)


def name_servers(value: str) -> str:
    parse_name_servers(value)
    return value


def origins(value: str) -> str:
    for origin in parts(value):
        if not _ORIGIN.fullmatch(origin):
            raise ValueError("no origin")
    return value


def ip(value: str) -> str:
    ipaddress.ip_address(value)
    return value


def ips(value: str) -> str:
    for address in parts(value):
        ipaddress.ip_address(address)
    return value


def ice_servers(value: str) -> str:
    try:
        parse_ice_servers(value)
    except ValueError as error:
        raise Fault(str(error)) from None
    return value


def webrtc_codecs(value: str) -> str:
    codecs = parts(value)
    if codecs == ["off"]:
        return value
    if not codecs or not set(codecs) <= set(get_args(AudioCodecName)):
        raise ValueError("an unknown codec, or none")
    return value


def one_host(value: str) -> str:
    if ipaddress.ip_address(value).is_unspecified:
        raise Fault(f"holds {value}, which stands for every address and names none")
    return value


def ws_url(value: str) -> str:
    if has_unknown_placeholder(value):
        raise Fault("holds a placeholder other than {model} and {session}")
    check_url(value)
    return value


def preset(value: str) -> str:
    if value and value not in PRESETS:
        raise ValueError("no preset")
    return value


def headers(value: str) -> str:
    parts(value)
    try:
        parse_headers(value)
    except ValueError as error:
        raise Fault(f"holds {error}") from None
    return value


def model(value: str) -> str:
    check_model(value)
    return value


def event_types(value: str) -> str:
    for kind in parts(value):
        if not _DOTTED.fullmatch(kind):
            raise ValueError("no type of an event")
    return value


def fields(value: str) -> str:
    for path in parts(value):
        if not _DOTTED.fullmatch(path):
            raise ValueError("no path of a field")
    return value


def audio_format(value: str) -> str:
    if value != "leg":
        parse_format(value)
    return value


def integer(value: str) -> str:
    int(value)
    return value


def target(value: str) -> str:
    try:
        return check_target(value, "target")
    except RealtimeError:
        raise ValueError("no target") from None


def filler(value: str) -> str:
    return value if value in ("off", "tone") else wav(value)


def wav(value: str) -> str:
    # Loads numpy, which nobody has to wait for whose settings are wrong, or name no recording.
    from gateway.audio.comfort import WavError, read_wav

    try:
        read_wav(_contents(value))
    except WavError as error:
        raise Fault(f"holds {value!r}, which cannot be played: {error}") from None
    return value


def dialogue(value: str) -> str:
    try:
        parse_dialogue(_contents(value).decode())
    except (DialogueError, UnicodeDecodeError) as error:
        raise Fault(f"holds {value!r}, which is no dialogue: {error}") from None
    return value


def _contents(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Fault(f"holds {path!r}, which cannot be read: {error.strerror}") from None


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


def users(value: str) -> str:
    try:
        parse_users(value)
    except ValueError as error:
        raise Fault(f"holds no users ({error})") from None
    return value


def parse_users(value: str) -> dict[str, str]:
    """Names and passwords. Raises ValueError, which quotes none of them."""
    found: dict[str, str] = {}
    for part in parts(value):
        name, colon, password = part.partition(":")
        name, password = unquote(name), unquote(password)
        if not colon or not name or not password:
            raise ValueError("a user without a name or a password")
        if name in found:
            raise ValueError("a user that stands twice")
        if not (name + password).isprintable():
            raise ValueError("a character that cannot be printed")
        found[name] = password
    return found


def digests(value: str) -> str:
    found = split(value)
    if not found or len(set(found)) < len(found) or not set(found) <= set(ALGORITHMS):
        raise ValueError("no algorithm, one that is not known, or one twice")
    return value


def realm(value: str) -> str:
    if not value.isprintable():
        raise ValueError("no realm")
    return value


def session_timer(value: int) -> int:
    if value and not 90 <= value <= 86_400:
        raise ValueError("too short or too long")
    return value


def trunks(value: str) -> str:
    texts = parts(value)
    try:
        _check_uris(texts)
        parse_trunks(texts)
    except ValueError as error:
        raise Fault(f"holds what is no trunk ({error})") from None
    return value


def registrations(value: str) -> str:
    texts = parts(value)
    try:
        _check_uris(texts)
        accounts = [Account.parse(text) for text in texts]
    except ValueError as error:
        raise Fault(f"holds what is no registration ({error})") from None
    if len(accounts) > _MAX_REGISTRATIONS:
        raise Fault(f"holds more than {_MAX_REGISTRATIONS} registrations")
    names = {(one.address_of_record.lower(), one.port, one.proxy) for one in accounts}
    if len(names) < len(accounts):
        raise Fault("holds a registration twice")
    return value


def _check_uris(texts: list[str]) -> None:
    """Raises ValueError before any is read: a password may have a comma that is not escaped."""
    if not all(text.lower().startswith("sip:") for text in texts):
        raise ValueError("not a SIP URI; a comma in one is %2C")


def auth(value: str) -> str:
    check_auth(value)
    return value


Absent = Annotated[str, AfterValidator(absent)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400)]
PORT = "0 to 65535"
SecondsOrOff = Annotated[float, Field(ge=0, le=86400)]
SECONDS = "seconds, above 0"
SECONDS_OR_OFF = "seconds, or 0 (off)"
URL = "a ws:// or wss:// URL"
PRESET = ", ".join(sorted(PRESETS))
FORMAT = "leg, pcmu, pcma or pcm@<rate>, whose rate is 8000 to 48000 in whole thousands"
WAV = "a WAV file"
INSTRUCTIONS = "instructions"


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


def is_loopback(host: str) -> bool:
    """Whether an address, or the name `localhost`, only reaches this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
