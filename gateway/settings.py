"""Every setting, in one place. Read once at start-up, by `cli` and `app` only.

A setting is the environment variable `GATEWAY_` plus the field's name in capitals; a `.env` file in
the working directory is read too, and the environment wins. `.env.example` is made from this file
(`python -m gateway.settings`), and a test keeps both equal.
"""

import ipaddress
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "GATEWAY_"


class SettingsError(Exception):
    """One line that names the variable, what it held and what it may hold."""


class _Fault(ValueError):
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


def _session(value: str) -> str:
    try:
        session = json.loads(value)
    except json.JSONDecodeError as error:
        raise _Fault(f"is not JSON at character {error.pos + 1}") from None
    except (ValueError, RecursionError):
        raise _Fault("holds too long a number or is nested too deeply") from None
    if not isinstance(session, dict):
        raise _Fault("is JSON but no object")
    if session.get("type") != "realtime":
        raise _Fault("must have type realtime")
    return value


def _networks(value: str) -> str:
    for network in split(value):
        ipaddress.ip_network(network)
    return value


def _ip(value: str) -> str:
    ipaddress.ip_address(value)
    return value


def _ws_url(value: str) -> str:
    if not value.startswith(("ws://", "wss://")):
        raise ValueError("not a WebSocket URL")
    return value


def _absent(value: str) -> str:
    if value:
        raise ValueError("not served yet")
    return value


def _auth(value: str) -> str:
    kind, _, name = value.partition(":")
    if value != "bearer" and (kind not in ("header", "query") or not name):
        raise ValueError("not an auth form")
    return value


Absent = Annotated[str, AfterValidator(_absent)]
Off = Annotated[int, Field(ge=0, le=0)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86400)]
_PORT = "0 to 65535"
_SECONDS = "seconds, above 0"
_URL = "a ws:// or wss:// URL"


class Settings(BaseSettings):
    """The gateway's configuration. Build it with `Settings.load`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore")

    http_host: Annotated[str, Meaning("address of the HTTP server", "a host")] = "127.0.0.1"
    http_port: Annotated[
        Port, Meaning("port of the HTTP server: health, metrics, status page", _PORT)
    ] = 8080
    http_tls_cert: Annotated[str, Meaning("certificate file: serve https", "a file")] = ""
    http_tls_key: Annotated[str, Meaning("its key file", "a file")] = ""
    api_keys: Annotated[
        str,
        Meaning(
            "keys of an HTTP API that is still to come: in this version they guard nothing "
            "(health, metrics and status page are open to all who reach them), and are only "
            "required when GATEWAY_HTTP_HOST is not loopback",
            "keys, comma-separated",
            secret=True,
        ),
    ] = ""

    sip_host: Annotated[
        str, AfterValidator(_ip), Meaning("address the SIP sockets bind to", "an IP address")
    ] = "127.0.0.1"
    sip_udp_port: Annotated[Port, Meaning("SIP over UDP; 0 turns it off", _PORT)] = 5060
    sip_tcp_port: Annotated[Port, Meaning("SIP over TCP; 0 turns it off", _PORT)] = 5060
    sip_tls_port: Annotated[Off, Meaning("SIP over TLS", "0 (off)", reserved=True)] = 0
    sip_ws_port: Annotated[Off, Meaning("SIP over WebSocket", "0 (off)", reserved=True)] = 0
    sip_tls_cert: Annotated[Absent, Meaning("SIP TLS certificate", "nothing", reserved=True)] = ""
    sip_tls_key: Annotated[Absent, Meaning("SIP TLS key", "nothing", reserved=True)] = ""
    sip_tls_ca: Annotated[Absent, Meaning("SIP TLS client CA", "nothing", reserved=True)] = ""
    sip_advertised_host: Annotated[
        str,
        AfterValidator(lambda value: value and _ip(value)),
        Meaning(
            "what Contact, Via and SDP say; empty: GATEWAY_SIP_HOST; needed when that is 0.0.0.0 "
            "or ::",
            "an IP address of the same family as GATEWAY_SIP_HOST",
        ),
    ] = ""
    sip_allow: Annotated[
        str,
        AfterValidator(_networks),
        Meaning(
            "who may send requests; empty: anyone when GATEWAY_SIP_HOST is loopback, else nobody",
            "networks like 192.0.2.0/24, comma-separated",
        ),
    ] = ""
    sip_users: Annotated[Absent, Meaning("digest users", "nothing", secret=True, reserved=True)] = (
        ""
    )
    sip_register: Annotated[
        Absent, Meaning("registrations to keep", "nothing", secret=True, reserved=True)
    ] = ""
    sip_srtp: Annotated[
        Literal["off", "offer"],
        Meaning("media encryption; calls that insist on SRTP get 488", "offer", reserved=True),
    ] = "offer"

    rtp_port_min: Annotated[Port, Meaning("first media port", "1024 to 65535")] = 20000
    rtp_port_max: Annotated[Port, Meaning("last media port", "1024 to 65535")] = 29999
    rtp_timeout_s: Annotated[
        Seconds, Meaning("hang up when a caller who is not on hold sends nothing", _SECONDS)
    ] = 30

    realtime_url: Annotated[
        str,
        AfterValidator(lambda value: value and _ws_url(value)),
        Meaning("the model's Realtime WebSocket; empty: the embedded agent", _URL, url=True),
    ] = ""
    realtime_api_key: Annotated[str, Meaning("its key", "a key", secret=True)] = ""
    realtime_auth: Annotated[
        str,
        AfterValidator(_auth),
        Meaning("where the key goes", "bearer, header:<name> or query:<name>"),
    ] = "bearer"
    realtime_dialect: Annotated[
        Literal["ga"], Meaning("event and session shapes of the model", "ga", reserved=True)
    ] = "ga"
    realtime_fallback_url: Annotated[
        Absent, Meaning("second Realtime server", "nothing", reserved=True)
    ] = ""
    realtime_connect_timeout_s: Annotated[
        Seconds, Meaning("to connect and configure a session, else 503", _SECONDS)
    ] = 10

    webhook_url: Annotated[
        Absent, Meaning("webhook for incoming calls", "nothing", reserved=True)
    ] = ""
    webhook_secret: Annotated[
        Absent, Meaning("its secrets", "nothing", secret=True, reserved=True)
    ] = ""

    calls_on_incoming: Annotated[
        Literal["accept", "reject"],
        Meaning("what happens to a call: accept with GATEWAY_SESSION, or reject", "accept, reject"),
    ] = "accept"
    calls_max: Annotated[
        int, Field(ge=1, le=100_000), Meaning("calls at once; more get 503", "1 to 100000")
    ] = 200
    calls_ring_timeout_s: Annotated[Seconds, Meaning("ring at most this long", _SECONDS)] = 45
    calls_max_duration_s: Annotated[Seconds, Meaning("talk at most this long", _SECONDS)] = 3600
    calls_greet: Annotated[bool, Meaning("the agent speaks first", "true, false")] = True
    dtmf_to_model: Annotated[
        Literal["off", "item"],
        Meaning("digits also reach the model, as one user text item", "off, item"),
    ] = "item"
    session: Annotated[
        str,
        AfterValidator(_session),
        Meaning(
            "session config for accepted calls",
            'GA session JSON with "type":"realtime"',
            secret=True,  # its tools may carry authorization
        ),
    ] = '{"type":"realtime"}'

    record_dir: Annotated[Absent, Meaning("recordings", "nothing", reserved=True)] = ""
    log_format: Annotated[
        Literal["", "json", "console"],
        Meaning("empty: console on a terminal, else json", "json, console"),
    ] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meaning("lowest level that is logged", "debug, info, warning, error"),
    ] = "info"
    drain_s: Annotated[
        float, Field(ge=0, le=86400), Meaning("how long SIGTERM lets calls finish", "0 to 86400")
    ] = 30

    @classmethod
    def load(cls, env_file: Path = Path(".env")) -> Self:
        """Read the environment and `env_file`.

        Raises:
            SettingsError: an unknown `GATEWAY_` variable, a bad value or a contradictory pair.
        """
        known = {name for name, _, _ in cls.variables()}
        given = {**dotenv_values(env_file), **os.environ}
        for name in sorted(given):
            if name.startswith(PREFIX) and name not in known:
                raise SettingsError(f"{name} is not a setting of the gateway; see .env.example")
        try:
            settings = cls(_env_file=env_file)
        except ValidationError as error:
            raise SettingsError(cls._explain(error.errors()[0], given)) from None
        settings._check_pairs()
        return settings

    @classmethod
    def variables(cls) -> Iterator[tuple[str, Meaning, Any]]:
        """Name, meaning and default of every environment variable, in the order of this file."""
        for field, info in cls.model_fields.items():
            meaning = next(item for item in info.metadata if isinstance(item, Meaning))
            yield PREFIX + field.upper(), meaning, info.default

    @property
    def http_is_loopback(self) -> bool:
        return is_loopback(self.http_host)

    @property
    def sip_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] | None:
        """Who may send SIP requests; None for anyone, () for nobody."""
        networks = tuple(ipaddress.ip_network(network) for network in split(self.sip_allow))
        return None if not networks and is_loopback(self.sip_host) else networks

    @property
    def session_config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(self.session)
        return config

    @classmethod
    def _explain(cls, error: ErrorDetails, given: dict[str, str | None]) -> str:
        name = PREFIX + str(error["loc"][0]).upper()
        meaning = next(meaning for known, meaning, _ in cls.variables() if known == name)
        fault = error.get("ctx", {}).get("error")
        if isinstance(fault, _Fault):
            wrong = str(fault)
        elif meaning.secret:
            wrong = "holds a secret"
        else:
            value = given.get(name) or ""
            wrong = f"holds {(_without_keys(value) if meaning.url else value)!r}"
        later = " (this version does not serve it yet)" if meaning.reserved else ""
        return f"{name} {wrong}; it may hold {meaning.allowed}{later}"

    def _check_pairs(self) -> None:
        self._check_addresses()
        if not 1024 <= self.rtp_port_min < self.rtp_port_max:
            raise SettingsError(
                f"GATEWAY_RTP_PORT_MIN holds {self.rtp_port_min}; it may hold 1024 up to one less "
                f"than GATEWAY_RTP_PORT_MAX, which holds {self.rtp_port_max}"
            )
        if bool(self.http_tls_cert) != bool(self.http_tls_key):
            missing = "KEY" if self.http_tls_cert else "CERT"
            raise SettingsError(
                f"GATEWAY_HTTP_TLS_{missing} holds nothing; it may hold a file, because "
                "certificate and key are only of use together"
            )
        for name in ("http_tls_cert", "http_tls_key"):
            if (path := getattr(self, name)) and not Path(path).is_file():
                raise SettingsError(f"{PREFIX}{name.upper()} holds {path!r}; it may hold a file")
        if not self.sip_udp_port and not self.sip_tcp_port:
            raise SettingsError(
                "GATEWAY_SIP_UDP_PORT holds 0; it may hold 1 to 65535, because "
                "GATEWAY_SIP_TCP_PORT is 0 too and no call could come in"
            )
        if not self.api_keys and not self.http_is_loopback:
            raise SettingsError(
                "GATEWAY_API_KEYS holds nothing; it may hold keys, comma-separated, and must when "
                f"GATEWAY_HTTP_HOST is not loopback ({self.http_host!r})"
            )

    def _check_addresses(self) -> None:
        """Callers must be told an address that they can send to."""
        host = ipaddress.ip_address(self.sip_host)
        advertised = ipaddress.ip_address(self.sip_advertised_host or self.sip_host)
        if advertised.is_unspecified:
            raise SettingsError(
                f"GATEWAY_SIP_ADVERTISED_HOST holds {self.sip_advertised_host or 'nothing'}; it "
                "may hold the IP address that callers reach, and must when GATEWAY_SIP_HOST is "
                f"every address ({self.sip_host})"
            )
        if advertised.version != host.version:
            raise SettingsError(
                f"GATEWAY_SIP_ADVERTISED_HOST holds {self.sip_advertised_host!r}; it may hold an "
                f"IPv{host.version} address, as GATEWAY_SIP_HOST does ({self.sip_host})"
            )


def split(value: str) -> list[str]:
    """The parts of a comma-separated setting."""
    return [part.strip() for part in value.split(",") if part.strip()]


def _without_keys(url: str) -> str:
    """A URL with its user and query cut out."""
    return re.sub(r"//.*@", "//…@", re.sub(r"[?#].*", "?…", url, flags=re.S))


def is_loopback(host: str) -> bool:
    """Whether an address, or the name `localhost`, only reaches this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def example() -> str:
    """The text of `.env.example`."""
    lines = ["# Every setting of the gateway with its default. Made by: python -m gateway.settings"]
    later = ["", "# Names that are fixed already; this version takes only the default."]
    for name, meaning, default in Settings.variables():
        shown = str(default).lower() if isinstance(default, bool) else default
        line = f"{name}={shown}"
        if meaning.reserved:
            later.append(line)
        else:
            lines += ["", f"# {meaning.text} ({meaning.allowed})", line]
    return "\n".join(lines + later) + "\n"


if __name__ == "__main__":
    print(example(), end="")
