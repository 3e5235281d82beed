"""Every setting, in one place. Read once at start-up, by `cli` and `app` only.

A setting is the environment variable `GATEWAY_` plus the field's name in capitals; a `.env` file in
the working directory is read too, and the environment wins. `.env.example` is made from the groups
(`python -m gateway.settings`), and a test keeps both equal.
"""

import os
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any, Self

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.settings import calls, http, realtime, sip
from gateway.settings.agent import AgentSettings
from gateway.settings.calls import CallSettings
from gateway.settings.errors import SettingsError
from gateway.settings.http import HttpSettings
from gateway.settings.realtime import RealtimeSettings
from gateway.settings.service import ServiceSettings
from gateway.settings.sip import SipSettings
from gateway.settings.values import PREFIX, Fault, Meaning
from gateway.settings.webrtc import WebRtcSettings


class Settings(
    HttpSettings,
    SipSettings,
    WebRtcSettings,
    RealtimeSettings,
    AgentSettings,
    CallSettings,
    ServiceSettings,
):
    """The gateway's configuration. Build it with `Settings.load`."""

    @classmethod
    def load(cls, env_file: Path = Path(".env")) -> Self:
        """Read the environment and `env_file`.

        Raises:
            SettingsError: a line of the file that says nothing, an unknown `GATEWAY_` variable, a
                bad value or a contradictory pair.
        """
        known = {name for name, _, _ in cls.variables()}
        given = {**_lines(env_file), **os.environ}
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
        """Name, meaning and default of every environment variable, in the order of the groups."""
        for group in cls.__bases__:
            for field in group.__annotations__:
                info = cls.model_fields[field]
                meaning = next(item for item in info.metadata if isinstance(item, Meaning))
                yield PREFIX + field.upper(), meaning, info.default

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
        for group in (sip, http, realtime, calls):
            group.check(self)
        if self.sip_ws_port and self.sip_ws_port == self.http_port:
            raise SettingsError(
                f"GATEWAY_SIP_WS_PORT holds {self.sip_ws_port}; it may hold another port, because "
                "GATEWAY_HTTP_PORT has that one"
            )
        if self.sip_trunk and not self.calls_targets:
            raise SettingsError(
                "GATEWAY_CALLS_TARGETS holds nothing; it may hold patterns like tel:+49, and must "
                "when GATEWAY_SIP_TRUNK is set: calls to some numbers cost a fortune"
            )


def _lines(env_file: Path) -> dict[str, str | None]:
    """What the file says. Who forgets a `=` or a quote must not go on without that setting: a line
    that says nothing is named by its number, and not quoted, for it may hold a secret."""
    if not env_file.exists() or env_file.is_dir():
        return {}
    try:
        text = env_file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise SettingsError(f"{env_file} is not text in UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{env_file} cannot be read: {error.strerror}") from None
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key is not None and binding.value is None):
            said = binding.original.string
            above = len(re.findall(r"\r\n|\n|\r", said[: len(said) - len(said.lstrip())]))
            raise SettingsError(
                f"{env_file} line {binding.original.line + above} cannot be read; it may hold "
                "NAME=value, or a comment after #"
            )
    return dotenv_values(stream=StringIO(text))


def _without_keys(url: str) -> str:
    """A URL with its user and query cut out."""
    return re.sub(r"//.*@", "//…@", re.sub(r"[?#].*", "?…", url, flags=re.S))
