"""Reads a plan of faults, and says what is wrong with one, and where. Its form: see `faults`."""

import json
import tomllib
from typing import Any, Final

from gateway.backend.faults import (
    CONNECT,
    Action,
    Close,
    Delay,
    Drop,
    Fail,
    Fault,
    Http,
    Malformed,
    Stall,
    Swap,
    Truncate,
    Twice,
)
from gateway.realtime.client_events import CLIENT_EVENTS

APPEND: Final = "input_audio_buffer.append"

_MAX_FAULTS: Final = 1000
_MAX_MS: Final = 24 * 3600 * 1000
_LONGEST_TEXT: Final = 200
_NEVER_SENT: Final = {1004, 1005, 1006, 1015}
"""Close codes that only tell a program of its own side (RFC 6455, section 7.4.1)."""
_OUTPUTS: Final = ("output_audio", "output_audio_transcript", "output_text")
_BETA_OUTPUTS: Final = ("audio", "audio_transcript", "text")
_PARTS: Final = ("output_item", "content_part")
SERVER_EVENTS: Final = frozenset(
    {
        *("error", "session.created", "session.updated", "rate_limits.updated"),
        *("transcription_session.created", "transcription_session.updated"),
        *(f"conversation.item.{change}" for change in ("created", "added", "done")),
        *(f"conversation.item.{change}" for change in ("retrieved", "deleted", "truncated")),
        *(
            f"conversation.item.input_audio_transcription.{change}"
            for change in ("delta", "completed", "failed")
        ),
        *(f"input_audio_buffer.{change}" for change in ("speech_started", "speech_stopped")),
        *(f"input_audio_buffer.{change}" for change in ("committed", "cleared")),
        "input_audio_buffer.timeout_triggered",
        *("mcp_list_tools.in_progress", "mcp_list_tools.failed"),
        *("response.created", "response.done"),
        *(f"response.{part}.{change}" for part in _PARTS for change in ("added", "done")),
        *(
            f"response.{output}.{change}"
            for output in (*_OUTPUTS, *_BETA_OUTPUTS, "function_call_arguments")
            for change in ("delta", "done")
        ),
    }
)
"""What the embedded server sends, in both dialects."""
_CLIENT_EVENTS: Final = frozenset({*CLIENT_EVENTS, "transcription_session.update"})

_ANYWHERE: Final = {"connect", "server", "client"}
_DOINGS: Final[dict[str, tuple[set[str], set[str]]]] = {
    "drop": (_ANYWHERE | {"bytes"}, set()),
    "http": ({"connect"}, {"status", "retry_after"}),
    "stall": (_ANYWHERE | {"bytes"}, {"ms"}),
    "delay": (_ANYWHERE, {"ms"}),
    "error": (_ANYWHERE, {"code", "message"}),
    "close": (_ANYWHERE, {"code", "reason"}),
    "malformed": ({"server"}, set()),
    "dup": ({"server"}, set()),
    "reorder": ({"server"}, set()),
    "truncate_frame": ({"server"}, set()),
}
"""Where each thing can be done, and the further fields that it has."""


class FaultError(Exception):
    """A plan does not say what it means; the text names the place."""


def plan_from_json(text: str | bytes) -> tuple[Fault, ...]:
    """Read a plan: a list of faults, or an object with such a list as `faults`.

    Raises:
        FaultError: it is not JSON, or not a plan.
    """
    try:
        return _plan(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise FaultError(f"not JSON: {error}") from None


def plan_from_toml(text: str) -> tuple[Fault, ...]:
    """Read a plan: tables `[[faults]]`.

    Raises:
        FaultError: it is not TOML, or not a plan.
    """
    try:
        return _plan(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise FaultError(f"not TOML: {error}") from None


def _plan(value: Any) -> tuple[Fault, ...]:
    if isinstance(value, dict):
        if set(value) != {"faults"}:
            raise FaultError(f"a plan has faults and nothing else, not {sorted(value)}")
        value = value["faults"]
    if not isinstance(value, list):
        raise FaultError("faults: must be a list of tables")
    if len(value) > _MAX_FAULTS:
        raise FaultError(f"faults: {len(value)} of them, and {_MAX_FAULTS} are the most")
    return tuple(_fault(fault, f"faults[{index}]") for index, fault in enumerate(value))


def _fault(table: Any, where: str) -> Fault:
    if not isinstance(table, dict):
        raise FaultError(f"{where}: must be a table")
    at, place = _place(table.get("at"), f"{where}.at")
    doing = table.get("do")
    if not isinstance(doing, str) or doing not in _DOINGS:
        raise FaultError(f"{where}.do: {doing!r} is none of {', '.join(_DOINGS)}")
    places, fields = _DOINGS[doing]
    if place not in places:
        raise FaultError(f"{where}: {doing} cannot be done at {table['at']!r}")
    unknown = sorted(set(table) - {"at", "n", "connection", "do"} - fields)
    if unknown:
        raise FaultError(f"{where}: unknown {', '.join(unknown)}")
    connection = None
    if "connection" in table:
        connection = _whole(table, "connection", where, 1, None)
    n = 1
    if "n" in table:
        n = _whole(table, "n", where, 1, None)
        if place == "bytes":
            raise FaultError(f"{where}.n: a number of bytes is passed once")
        if place == "connect":
            if connection not in (None, n):
                raise FaultError(f"{where}: at connect, n and connection are the same")
            n, connection = 1, n
    return Fault(at, n, connection, _action(doing, table, where))


def _place(at: Any, where: str) -> tuple[str | int, str]:
    """Where a fault strikes, and what kind of place that is."""
    if isinstance(at, int) and not isinstance(at, bool) and at >= 0:
        return at, "bytes"
    if at == CONNECT:
        return at, "connect"
    if at in ("append", APPEND):
        return APPEND, "client"
    if isinstance(at, str) and at in _CLIENT_EVENTS:
        return at, "client"
    if isinstance(at, str) and at in SERVER_EVENTS:
        return at, "server"
    raise FaultError(f"{where}: {at!r} is not connect, append, an event or a number of bytes")


def _action(doing: str, table: dict[str, Any], where: str) -> Action:
    match doing:
        case "drop":
            return Drop()
        case "http":
            retry_after = None
            if "retry_after" in table:
                retry_after = _whole(table, "retry_after", where, 0, 86400)
            return Http(_whole(table, "status", where, 400, 599), retry_after)
        case "stall":
            return Stall(_seconds(table, where) if "ms" in table else None)
        case "delay":
            return Delay(_seconds(table, where))
        case "error":
            message = _text(table, "message", where, "The server failed, as it was told to.")
            return Fail(_text(table, "code", where), message)
        case "close":
            code = _whole(table, "code", where, 1000, 4999)
            if code in _NEVER_SENT:
                raise FaultError(f"{where}.code: {code} is never sent")
            return Close(code, _text(table, "reason", where, ""))
        case "malformed":
            return Malformed()
        case "dup":
            return Twice()
        case "reorder":
            return Swap()
    return Truncate()


def _seconds(table: dict[str, Any], where: str) -> float:
    return _whole(table, "ms", where, 0, _MAX_MS) / 1000


def _whole(table: dict[str, Any], name: str, where: str, least: int, most: int | None) -> int:
    value = table.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        if most is None or value <= most:
            return value
    limits = f"from {least} on" if most is None else f"from {least} to {most}"
    raise FaultError(f"{where}.{name}: {value!r} is not a whole number {limits}")


def _text(table: dict[str, Any], name: str, where: str, default: str | None = None) -> str:
    value = table.get(name, default)
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
        raise FaultError(f"{where}.{name}: {value!r} is not a text of {_LONGEST_TEXT} characters")
    return value
