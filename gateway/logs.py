"""The log: one JSON object a line, or a readable line on a terminal.

Text that came from outside is only ever a value, never the event's name, and is cut at 256
characters. Numbers of callers and keys never appear; a pressed digit, and an error's `message`,
which may quote what somebody said, are shown only when the level is debug. A traceback shows the
lines of the program, never what its variables held.
"""

import contextlib
import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_LONGEST = 256
_SECRET = re.compile(r"(?i)(authorization|api_key|secret|password|token)")


def configure(log_format: str, level: str, stream: TextIO | None = None) -> None:
    """Set up structlog for the process.

    Args:
        log_format: `json`, `console`, or "" for console on a terminal and else json.
        level: `debug`, `info`, `warning` or `error`.
        stream: where the lines go; standard output unless given.
    """
    stream = stream or sys.stdout
    console = log_format == "console" or (not log_format and stream.isatty())
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _guard if level == "debug" else _guard_words,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if console:
        processors += [
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    else:
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        processors += [
            structlog.processors.ExceptionRenderer(tracebacks),
            structlog.processors.JSONRenderer(),
        ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Unfailing(stream))),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _Libraries)]:
        root.removeHandler(handler)
    root.addHandler(_Libraries(logging.WARNING))


class _Libraries(logging.Handler):
    """What the libraries below us complain of by Python's own logging, as lines like all others."""

    def emit(self, record: logging.LogRecord) -> None:
        tell = get_log().error if record.levelno >= logging.ERROR else get_log().warning
        try:
            text = record.getMessage()
        except Exception:
            text = str(record.msg)  # its own arguments do not fit it
        tell(
            "library.complained",
            library=record.name,
            text=text,
            exc_info=record.exc_info or None,
        )


class _Unfailing:
    """A stream whose loss is nobody's concern: calls go on when whoever read the log has gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def get_log() -> FilteringBoundLogger:
    log: FilteringBoundLogger = structlog.get_logger()
    return log


def _guard(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if _SECRET.search(key):
            event[key] = "(hidden)"
        elif isinstance(value, str) and len(value) > _LONGEST:
            event[key] = value[:_LONGEST] + "…"
    return event


def _guard_words(_: Any, name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in ("digit", "message"):
        event.pop(key, None)
    return _guard(_, name, event)
