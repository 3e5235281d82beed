"""Where a Realtime server is, and what opens its door: configuration to URL and headers."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple
from urllib.parse import quote

from multidict import CIMultiDict
from yarl import URL

from gateway.audio.formats import AudioFormat
from gateway.realtime.dialects import DialectOptions
from gateway.upstream.errors import BackendError

_PLACEHOLDER: Final = re.compile(r"\{(?:model|session)\}")
_LONGEST_MODEL: Final = 256
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
"""RFC 9110 section 5.6.2: what the name of a header may be."""
_HANDSHAKE: Final = re.compile(r"connection|content-.*|host|sec-websocket-.*|upgrade", re.I)
"""Headers that the WebSocket itself sets."""
_FORMAT: Final = re.compile(r"pcm@([1-9][0-9]{3,4})")
_PROTOCOL: Final = "realtime"
_KEY_PROTOCOL: Final = "openai-insecure-api-key."


@dataclass(frozen=True, slots=True)
class BackendConfig:
    """Where the Realtime server is, how to reach it, and what it can."""

    url: str
    """`{model}` is replaced by the session's model, `{session}` by an id of its own."""
    api_key: str = field(default="", repr=False)
    auth: str = "bearer"
    """Where the key goes: `bearer`, `header:<name>`, `query:<name>`, `basic` or `subprotocol`."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """More headers of the handshake; a client's own of the same name are replaced."""
    default_model: str = "gpt-realtime"
    """Of sessions that name none."""
    only_model: bool = False
    """Whether `default_model` is that of all sessions, because the server knows no others."""
    dialect: DialectOptions = field(default_factory=DialectOptions)
    """What it speaks, and what it does differently."""
    input_format: AudioFormat | None = None
    """The format it takes, or None: as the session asks for, and else as the leg speaks."""
    output_format: AudioFormat | None = None
    """The format it sends, or None: as the session asks for, and else as the leg speaks."""
    confirms: bool = True
    """Whether it answers a config with `session.updated`."""
    interrupt: Literal["server", "cancel"] = "server"
    """Who cancels the response that a caller speaks into: the server, or we."""
    session_limit_s: float = 0.0
    """How long a session may live; 0 leaves it to what the server says of it."""
    connect_timeout_s: float = 10.0
    """For the handshake and the configuration together."""


class Target(NamedTuple):
    """What to dial."""

    url: URL
    headers: CIMultiDict[str]
    protocols: tuple[str, ...]
    """WebSocket subprotocols to offer."""


def target_of(
    config: BackendConfig,
    model: str | None,
    *,
    session_id: str = "",
    intent: str = "",
    headers: Mapping[str, str] | None = None,
) -> Target:
    """The URL, headers and subprotocols that open a session.

    Args:
        model: goes into the URL; the default model when it is None or empty.
        session_id: goes into the URL of a server that wants one from its client.
        intent: goes into the URL as `intent=` where the model would stand in its query.
        headers: those of a client, which lose against ours.

    Raises:
        BackendError: `refused`; no server has a model of this name.
    """
    if not model or config.only_model:
        model = config.default_model
    url = URL(config.url.replace("{session}", session_id).replace("{model}", _url_part(model)))
    if intent:
        template = URL(config.url)
        fed = [name for name, value in template.query.items() if "{model}" in value]
        url = url.without_query_params(*fed).update_query(intent=intent)
    sent = CIMultiDict(headers or {})
    for name, value in config.headers:
        sent[name] = value
    protocols: tuple[str, ...] = ()
    key = config.api_key
    kind, _, name = config.auth.partition(":")
    if kind == "subprotocol":
        # Without a key too: there are servers that know no keys and insist on the protocol.
        protocols = (_PROTOCOL, _KEY_PROTOCOL + key) if key else (_PROTOCOL,)
    elif not key:
        pass
    elif kind == "header":
        sent[name] = key
    elif kind == "query":
        url = url.update_query({name: key})
    elif kind == "basic":
        sent["Authorization"] = f"Basic {_basic(key)}"
    else:
        sent["Authorization"] = f"Bearer {key}"
    return Target(url, sent, protocols)


def check_url(url: str) -> None:
    """Raises ValueError: the URL is no WebSocket's."""
    parsed = URL(_PLACEHOLDER.sub("x", url))
    if parsed.scheme not in ("ws", "wss") or not parsed.host:
        raise ValueError("no WebSocket URL")


def has_unknown_placeholder(url: str) -> bool:
    """Whether there is a placeholder in the URL that nothing is filled in for."""
    return "{" in _PLACEHOLDER.sub("", url)


def check_auth(form: str) -> None:
    """Raises ValueError: there is no such form of authorization."""
    kind, colon, name = form.partition(":")
    if kind == "query" and name or kind == "header" and _is_header(name):
        return
    if colon or kind not in ("bearer", "basic", "subprotocol"):
        raise ValueError("no form of authorization")


def check_model(model: str) -> None:
    """Raises ValueError: no server has a model of this name. Dots alone lead to another path."""
    if len(model) > _LONGEST_MODEL or not model.strip("."):
        raise ValueError("no name of a model")


def parse_headers(text: str) -> tuple[tuple[str, str], ...]:
    """Read `name: value, name: value`.

    Raises:
        ValueError: its text quotes no value.
    """
    headers = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, colon, value = (piece.strip() for piece in part.partition(":"))
        if not colon or not _is_header(name):
            raise ValueError("a header that is not 'name: value'")
        if not value or not value.isascii() or not value.isprintable():
            raise ValueError(f"{name} has no value that a header can have")
        headers.append((name, value))
    return tuple(headers)


def parse_format(text: str) -> AudioFormat:
    """Read `pcmu`, `pcma` or `pcm@<rate>`.

    Raises:
        ValueError: it is none of these, or a rate that is not a whole number of kHz from 8 to 48.
    """
    if text in ("pcmu", "pcma"):
        return AudioFormat("pcmu" if text == "pcmu" else "pcma", 8000)
    match = _FORMAT.fullmatch(text)
    if match is None:
        raise ValueError("no audio format")
    return AudioFormat("pcm16", int(match[1]))


def _is_header(name: str) -> bool:
    return bool(_TOKEN.fullmatch(name)) and not _HANDSHAKE.fullmatch(name)


def _basic(key: str) -> str:
    """`user:password` in base64. What has no colon is a key that was given out in base64."""
    return base64.b64encode(key.encode()).decode() if ":" in key else key


def _url_part(model: str) -> str:
    """The model's name as one part of a URL, whatever it holds: clients choose it.

    Raises:
        BackendError: no server has a model of this name.
    """
    try:
        check_model(model)
    except ValueError:
        raise BackendError(
            "There is no model of this name.", code="model_not_found", param="model", refused=True
        ) from None
    return quote(model, safe="", errors="replace")
