"""`gateway call` as it is typed."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from gateway.audio import g711
from gateway.phone.command import add_arguments, run
from gateway.phone.voice import speech
from gateway.phone.wavefile import read_wav, write_wav
from tests.phone.uas import Manners, answering

pytestmark = pytest.mark.loop


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        "call",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_a_call_from_the_command_line(tmp_path: Path) -> None:
    play, record = tmp_path / "in.wav", tmp_path / "out.wav"
    voice = speech(0.3, seed=9)
    write_wav(play, voice.tobytes())
    async with answering(Manners(echoes=True)) as uas:
        process = await start(
            uas.uri("tcp"), "--json", "--play", str(play), "--record", str(record),
            "--duration", "1.2", "--speak-after", "0.1", "--dtmf", "5#", "--dtmf-after", "0.6",
            "--codec", "pcma", "--from", "1001",
        )  # fmt: skip
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    told = json.loads(out)
    assert told["ok"] and told["codec"] == "pcma" and told["digits"] == uas.digits == "5#"
    assert uas.incoming is not None and uas.incoming.from_uri.startswith("sip:1001@")
    heard = np.frombuffer(read_wav(record), "<i2")
    sent = g711.decode(g711.encode(voice, "pcma"), "pcma")
    assert heard.tobytes().count(sent.tobytes()) == 1


async def test_the_timeline_is_for_reading() -> None:
    async with answering(Manners(talk_s=3.0, yields=True)) as uas:
        process = await start(uas.uri(), "--duration", "1", "--interrupt-after", "0.2")
        out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    text = out.decode()
    for words in ("ringing (180)", "answered, pcmu", "we interrupt", "over: local_bye", "0 lost"):
        assert words in text
    assert "ms after the interruption began" in text


async def test_a_busy_line_gives_1_and_says_why() -> None:
    async with answering(Manners(reject=486)) as uas:
        process = await start(uas.uri(), "--json")
        out, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode().strip() == "gateway call: busy (486 Busy Here)"
    assert json.loads(out)["status"] == 486


async def test_silence_gives_1() -> None:
    async with answering() as uas:
        process = await start(uas.uri(), "--duration", "0.3", "--silent")
        _, err = await process.communicate()
    assert process.returncode == 1 and b"no audio" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_control_c_hangs_up(number: signal.Signals) -> None:
    async with answering(Manners(talk_s=5.0)) as uas:
        process = await start(uas.uri())
        await uas.hearing.wait()
        process.send_signal(number)
        out, err = await process.communicate()
        ended = await uas.wait_for_end()
    assert ended.cause == "remote_bye"
    assert b"Traceback" not in err and b"over: local_bye" in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("agent",),
        ("sips:agent@192.0.2.1",),
        ("sip:agent@192.0.2.1", "--dtmf", "12x"),
        ("sip:agent@192.0.2.1", "--duration", "-1"),
        ("sip:agent@192.0.2.1", "--play", "/nowhere.wav"),
        ("sip:agent@192.0.2.1", "--from", "a b"),
    ],
)
def test_bad_arguments_give_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(parsed(*arguments)) == 2
    told = capsys.readouterr()
    assert told.err.startswith("gateway call: error: ") and not told.out
    assert len(told.err.splitlines()) == 1


@pytest.mark.parametrize("caller", ("a b", "sip:", "sip:a@b:99999", ""))
def test_a_caller_that_is_none_is_named(caller: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parsed("sip:agent@192.0.2.1", "--from", caller)) == 2
    assert capsys.readouterr().err == (
        "gateway call: error: the caller (--from) is a number, a name or a sip: URI\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("sip:a@b", "--codec", "opus"),
        ("sip:a@b", "--duration", "soon"),
        ("sip:a@b", "--play", "x.wav", "--silent"),
        ("sip:a@b", "--speak-after", "1", "--interrupt-after", "1"),
    ],
)
def test_argparse_refuses_the_rest(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parsed(*arguments)
    assert exit_.value.code == 2


async def test_a_recording_that_cannot_be_written_is_told_before_the_call(tmp_path: Path) -> None:
    async with answering(Manners(talk_s=0.3)) as uas:
        process = await start(
            uas.uri(), "--duration", "0.4", "--record", str(tmp_path / "no" / "out.wav")
        )
        out, err = await process.communicate()
    assert process.returncode == 2 and out == b""
    assert err.count(b"\n") == 1 and b"No such file" in err


def test_bad_arguments_leave_no_recording_behind(tmp_path: Path) -> None:
    record = tmp_path / "out.wav"
    assert run(parsed("agent", "--record", str(record))) == 2
    assert not record.exists()


def test_a_recording_that_is_a_folder_gives_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(parsed("sip:agent@192.0.2.1", "--record", str(tmp_path))) == 2
    assert capsys.readouterr().err == f"gateway call: error: {tmp_path}: Is a directory\n"


def test_an_older_recording_stays_until_the_call_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Dialled(Exception):
        pass

    async def dial(*_: object, **__: object) -> None:
        raise Dialled

    record = tmp_path / "out.wav"
    record.write_bytes(b"older")
    monkeypatch.setattr("gateway.phone.command._place", dial)
    with pytest.raises(Dialled):
        run(parsed("sip:agent@192.0.2.1", "--record", str(record)))
    assert record.read_bytes() == b"older"
