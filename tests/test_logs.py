"""The log: one JSON object a line, nothing of a caller in clear."""

import io
import json
import logging

import pytest
import structlog

from gateway import logs

pytestmark = pytest.mark.pure


@pytest.fixture(autouse=True)
def restore_structlog() -> object:
    yield
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_one_json_object_a_line_whatever_a_caller_sends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("json", "info")
    logs.get_log().info("call.incoming", caller='x"\n{"event":"forged"}\x1b[31m')
    (line,) = lines(capsys)
    assert line["event"] == "call.incoming"
    assert line["caller"] == 'x"\n{"event":"forged"}\x1b[31m'


def test_long_values_are_cut_and_secrets_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    logs.get_log().info("x", text="y" * 1000, api_key="canary", Authorization="canary")
    (line,) = lines(capsys)
    assert line["text"] == "y" * 256 + "…"
    assert "canary" not in json.dumps(line)


@pytest.mark.parametrize("key", ("digit", "message"))
def test_what_somebody_said_is_shown_only_at_debug(
    capsys: pytest.CaptureFixture[str], key: str
) -> None:
    logs.configure("json", "info")
    logs.get_log().info("dtmf.received", **{key: "7"})
    assert key not in lines(capsys)[0]
    logs.configure("json", "debug")
    logs.get_log().info("dtmf.received", **{key: "7"})
    assert lines(capsys)[0][key] == "7"


def test_what_a_library_complains_of_is_a_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    logs.configure("json", "info")  # told once all the same
    try:
        raise ValueError("canary\nof two lines")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling %s", "a request")
    (line,) = lines(capsys)
    assert (line["event"], line["level"]) == ("library.complained", "error")
    assert (line["library"], line["text"]) == ("aiohttp.server", "Error handling a request")
    assert "exception" in line


def test_an_exception_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        logs.get_log().error("call.failed", exc_info=error)
    (line,) = lines(capsys)
    assert line["exception"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_variables(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    def fail(api_key: str) -> None:
        caller = "".join(("+49", "canary"))
        raise ValueError(f"{len(api_key + caller)} is wrong")

    logs.configure(log_format, "info")
    try:
        fail("".join(("sk-", "canary")))
    except ValueError as error:
        logs.get_log().error("call.failed", exc_info=error)
    text = capsys.readouterr().out
    assert "ValueError" in text and "18 is wrong" in text and "test_logs.py" in text
    assert "+49canary" not in text and "sk-canary" not in text


def test_the_console_shows_no_variables_where_a_prettier_library_is_installed() -> None:
    logs.configure("console", "info")
    renderer = structlog.get_config()["processors"][-1]
    assert renderer._exception_formatter is structlog.dev.plain_traceback


def test_a_lost_reader_of_the_log_hurts_nobody() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    logs.configure("json", "info", Gone())
    logs.get_log().info("call.incoming")
