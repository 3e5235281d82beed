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
from typing import Annotated, Any, Literal, Self

from dotenv import dotenv_values
from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.settings import values
from gateway.settings.values import (
    PORT,
    SECONDS,
    URL,
    Absent,
    Fault,
    Meaning,
    Off,
    Port,
    Seconds,
    split,
)

PREFIX = "GATEWAY_"


class SettingsError(Exception):
    """One line that names the variable, what it held and what it may hold."""


class Settings(BaseSettings):
    """The gateway's configuration. Build it with `Settings.load`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore")

    http_host: Annotated[str, Meaning("address of the HTTP server", "a host")] = "127.0.0.1"
    http_port: Annotated[
        Port, Meaning("port of the HTTP server: API, health, metrics, status page", PORT)
    ] = 8080
    http_tls_cert: Annotated[str, Meaning("certificate file: serve https", "a file")] = ""
    http_tls_key: Annotated[str, Meaning("its key file", "a file")] = ""
    api_keys: Annotated[
        str,
        AfterValidator(values.keys),
        Meaning(
            "bearer keys of the HTTP API; empty: programs of this machine need none, which only "
            "goes while GATEWAY_HTTP_HOST is loopback",
            "keys, comma-separated",
            secret=True,
        ),
    ] = ""

    sip_host: Annotated[
        str, AfterValidator(values.ip), Meaning("address the SIP sockets bind to", "an IP address")
    ] = "127.0.0.1"
    sip_udp_port: Annotated[Port, Meaning("SIP over UDP; 0 turns it off", PORT)] = 5060
    sip_tcp_port: Annotated[Port, Meaning("SIP over TCP; 0 turns it off", PORT)] = 5060
    sip_tls_port: Annotated[Off, Meaning("SIP over TLS", "0 (off)", reserved=True)] = 0
    sip_ws_port: Annotated[Off, Meaning("SIP over WebSocket", "0 (off)", reserved=True)] = 0
    sip_tls_cert: Annotated[Absent, Meaning("SIP TLS certificate", "nothing", reserved=True)] = ""
    sip_tls_key: Annotated[Absent, Meaning("SIP TLS key", "nothing", reserved=True)] = ""
    sip_tls_ca: Annotated[Absent, Meaning("SIP TLS client CA", "nothing", reserved=True)] = ""
    sip_advertised_host: Annotated[
        str,
        AfterValidator(lambda value: value and values.ip(value)),
        Meaning(
            "what Contact, Via and SDP say; empty: GATEWAY_SIP_HOST; needed when that is 0.0.0.0 "
            "or ::",
            "an IP address of the same family as GATEWAY_SIP_HOST",
        ),
    ] = ""
    sip_allow: Annotated[
        str,
        AfterValidator(values.networks),
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
    sip_trunk: Annotated[
        str,
        AfterValidator(lambda value: value and values.trunk(value)),
        Meaning(
            "who carries calls that we make to telephone numbers; a password is told only to the "
            "realm given, which is the host if left out; no user and password for a trunk that "
            "knows us by our address",
            "sip:user:password@host:port;transport=tcp;realm=example, all but the host optional",
            secret=True,
        ),
    ] = ""
    sip_srtp: Annotated[
        Literal["off", "offer"],
        Meaning("media encryption; calls that insist on SRTP get 488", "offer", reserved=True),
    ] = "offer"

    rtp_port_min: Annotated[Port, Meaning("first media port", "1024 to 65535")] = 20000
    rtp_port_max: Annotated[Port, Meaning("last media port", "1024 to 65535")] = 29999
    rtp_timeout_s: Annotated[
        Seconds, Meaning("hang up when a caller who is not on hold sends nothing", SECONDS)
    ] = 30

    realtime_url: Annotated[
        str,
        AfterValidator(lambda value: value and values.ws_url(value)),
        Meaning("the model's Realtime WebSocket; empty: the embedded agent", URL, url=True),
    ] = ""
    realtime_api_key: Annotated[str, Meaning("its key", "a key", secret=True)] = ""
    realtime_auth: Annotated[
        str,
        AfterValidator(values.auth),
        Meaning("where the key goes", "bearer, header:<name> or query:<name>"),
    ] = "bearer"
    realtime_dialect: Annotated[
        Literal["ga"], Meaning("event and session shapes of the model", "ga", reserved=True)
    ] = "ga"
    realtime_fallback_url: Annotated[
        Absent, Meaning("second Realtime server", "nothing", reserved=True)
    ] = ""
    realtime_connect_timeout_s: Annotated[
        Seconds, Meaning("to connect and configure a session, else 503", SECONDS)
    ] = 10

    webhook_url: Annotated[
        str,
        AfterValidator(lambda value: value and values.webhook_url(value)),
        Meaning(
            "where each call that is let ring is told (realtime.call.incoming), whoever decides",
            "an http:// or https:// URL",
            url=True,
        ),
    ] = ""
    webhook_secret: Annotated[
        str,
        AfterValidator(values.webhook_secrets),
        Meaning(
            "what webhooks are signed with; several while one replaces the other",
            "whsec_… secrets, comma-separated",
            secret=True,
        ),
    ] = ""

    calls_on_incoming: Annotated[
        Literal["", "webhook", "accept", "reject"],
        Meaning(
            "what happens to a call: the webhook's receiver decides, accept with GATEWAY_SESSION, "
            "or reject; empty: webhook if GATEWAY_WEBHOOK_URL is set, else accept",
            "webhook, accept, reject",
        ),
    ] = ""
    calls_on_backend_failure: Annotated[
        Literal["ring", "reject"],
        Meaning(
            "a call that was accepted through the API and whose session cannot be had goes on "
            "ringing, or gets 503",
            "ring, reject",
        ),
    ] = "ring"
    calls_targets: Annotated[
        str,
        AfterValidator(values.targets),
        Meaning(
            "what may be called, also by transfer: tel:+49 is numbers that begin so, "
            "sip:*@example.com anybody there; empty: any transfer, and calls to whatever "
            "GATEWAY_SIP_ALLOW reaches; needed when GATEWAY_SIP_TRUNK is set",
            "patterns like tel:+49 and sip:*@example.com, comma-separated",
        ),
    ] = ""
    calls_transfer_timeout_s: Annotated[
        Seconds,
        Meaning("a transfer without news for so long has failed, and the caller is back", SECONDS),
    ] = 60
    calls_max: Annotated[
        int, Field(ge=1, le=100_000), Meaning("calls at once; more get 503", "1 to 100000")
    ] = 200
    calls_ring_timeout_s: Annotated[Seconds, Meaning("ring at most this long", SECONDS)] = 45
    calls_max_duration_s: Annotated[Seconds, Meaning("talk at most this long", SECONDS)] = 3600
    calls_greet: Annotated[
        bool,
        Meaning(
            "in calls that the gateway accepts by itself the agent speaks first", "true, false"
        ),
    ] = True
    dtmf_to_model: Annotated[
        Literal["off", "item"],
        Meaning("digits also reach the model, as one user text item", "off, item"),
    ] = "item"
    session: Annotated[
        str,
        AfterValidator(values.session_json),
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
        Meaning(
            "lowest level that is logged; debug shows the keys that callers press",
            "debug, info, warning, error",
        ),
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
    def on_incoming(self) -> str:
        """`webhook`, `accept` or `reject`."""
        return self.calls_on_incoming or ("webhook" if self.webhook_url else "accept")

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
        if isinstance(fault, Fault):
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
        if self.sip_trunk and not self.calls_targets:
            raise SettingsError(
                "GATEWAY_CALLS_TARGETS holds nothing; it may hold patterns like tel:+49, and must "
                "when GATEWAY_SIP_TRUNK is set: calls to some numbers cost a fortune"
            )
        if self.calls_on_incoming == "webhook" and not self.webhook_url:
            raise SettingsError(
                "GATEWAY_WEBHOOK_URL holds nothing; it may hold an http:// or https:// URL, and "
                "must when GATEWAY_CALLS_ON_INCOMING is webhook"
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


def _without_keys(url: str) -> str:
    """A URL with its user and query cut out."""
    return re.sub(r"//.*@", "//…@", re.sub(r"[?#].*", "?…", url, flags=re.S))


def is_loopback(host: str) -> bool:
    """Whether an address, or the name `localhost`, only reaches this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
