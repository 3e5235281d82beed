"""The agent's voice: prompts, programs, the tone."""

import asyncio
import shutil
import stat
import sys
import tempfile
import threading
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import structlog

from gateway.audio import g711
from gateway.audio.formats import PCM24K, PCMA, PCMU, AudioFormat
from gateway.backend.config import DEFAULT_DIALOGUE
from gateway.backend.dialogue import DialogueRun, Pressed
from gateway.backend.dialogue_parse import parse_dialogue
from gateway.backend.voice import PROMPTS, Voice, VoiceError, decode_clip, prompt_name, tone
from tests.backend.speech_samples import PCM16K, prompt

pytestmark = pytest.mark.loop

BUILT_IN = parse_dialogue(DEFAULT_DIALOGUE.read_text())
PROGRAM = """#!{python}
import sys, time, wave
text = open(sys.argv[sys.argv.index("-f") + 1]).read()
open({log!r}, "a").write(text + "\\n")
if text == "fail.":
    sys.exit(3)
if text == "quiet.":
    sys.exit(0)
if text == "noise.":
    open(sys.argv[-1], "wb").write(bytes(range(256)) * 20)
    sys.exit(0)
if text == "hang.":
    time.sleep(60)
with wave.open(sys.argv[-1], "wb") as sound:
    sound.setnchannels(1), sound.setsampwidth(2), sound.setframerate(16000)
    sound.writeframes(b"\\0\\1" * 16000)
if text == "late.":
    sys.exit(3)
"""
Finder = Callable[[str], str | None]


def nothing(_: str) -> None:
    return None


@pytest.fixture
def program(tmp_path: Path) -> tuple[Path, Callable[[], list[str]]]:
    """A program that speaks a second of sound for any text, and what it was given to say."""
    path, log = tmp_path / "speaker", tmp_path / "log"
    path.write_text(PROGRAM.format(python=sys.executable, log=str(log)))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path, lambda: log.read_text().splitlines()


@pytest.fixture
def leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test makes of temporary files is gone when it is over."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    assert not list(folder.iterdir())


def named(wanted: str, path: Path) -> Finder:
    return lambda name: str(path) if name == wanted else None


# Prompts.


def test_every_phrase_of_the_built_in_dialogue_has_its_prompt_and_no_other_lies_about() -> None:
    names = {prompt_name(phrase) for phrase in BUILT_IN.phrases()}
    assert {path.name for path in PROMPTS.iterdir()} == names


def test_prompts_are_small_and_sound_like_speech() -> None:
    for path in PROMPTS.iterdir():
        samples = np.frombuffer(decode_clip(path.read_bytes(), PCM16K), np.int16)
        assert 0.2 < len(samples) / 16_000 < 9
        assert path.stat().st_size < 1200 + len(samples) / 16_000 * 3000
        assert 8000 < np.abs(samples).max() <= 32_000
        assert np.sqrt(np.mean(samples.astype(float) ** 2)) > 500


def test_prompt_names_ignore_case_and_the_pause_at_the_end() -> None:
    assert prompt_name("One,") == prompt_name("one.") == prompt_name("ONE")
    assert prompt_name("One!") != prompt_name("One")
    assert prompt_name("\ud800 ünïcode / ..")  # any text has a name, and it stays in the folder
    assert "/" not in prompt_name("../../etc/passwd")


async def test_the_story_is_long_enough_to_be_interrupted() -> None:
    voice = Voice(find_program=nothing)
    clips = await voice.speak(DialogueRun(BUILT_IN).answer(Pressed("1")).line, PCMU)
    assert sum(map(len, clips)) / 8000 > 15


@pytest.mark.parametrize("audio_format", [PCMU, PCMA, PCM24K])
def test_a_prompt_sounds_the_same_in_every_format(audio_format: AudioFormat) -> None:
    original = np.frombuffer(prompt("i-also-understand", AudioFormat("pcm16", 8000)), np.int16)
    clip = prompt("i-also-understand", audio_format)
    assert len(clip) / audio_format.bytes_per_ms == pytest.approx(len(original) / 8, abs=1)
    if audio_format.encoding == "pcm16":
        samples = np.frombuffer(clip, np.int16)[::3]
    else:
        samples = g711.decode(clip, audio_format.encoding)
    length = min(len(samples), len(original))
    assert np.corrcoef(samples[:length], original[:length])[0, 1] > 0.9


@pytest.mark.parametrize("data", [b"", b"OggS" + bytes(50), bytes(range(256)) * 20])
def test_what_is_no_sound_is_an_error(data: bytes) -> None:
    with pytest.raises(VoiceError):
        decode_clip(data, PCMU)


async def test_a_broken_prompt_is_replaced(tmp_path: Path) -> None:
    (tmp_path / prompt_name("Hello.")).write_bytes(b"not sound")
    voice = Voice(tmp_path, nothing)
    assert await voice.speak(("Hello.",), PCMU) == [tone("Hello.", PCMU)]


# Programs.


@pytest.mark.parametrize("name", ["flite", "espeak-ng"])
async def test_other_text_is_spoken_by_a_program(
    name: str, program: tuple[Path, Callable[[], list[str]]]
) -> None:
    path, spoken = program
    voice = Voice(find_program=named(name, path))
    text = "-x is no option\x00\nand \ud800 no letter."
    (clip,) = await voice.speak((text,), PCMU)
    assert len(clip) == 8000
    assert spoken() == ["-x is no option  and   no letter."]


@pytest.mark.usefixtures("leaves_no_files")
async def test_the_real_flite_speaks() -> None:
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed")
    voice = Voice(find_program=lambda name: shutil.which("flite") if name == "flite" else None)
    (clip,) = await voice.speak(("This sentence has no prompt.",), PCMU)
    assert clip != tone("This sentence has no prompt.", PCMU)
    assert 1.0 < len(clip) / 8000 < 4.0


async def test_what_was_spoken_is_remembered_and_made_once_for_all_who_wait(
    program: tuple[Path, Callable[[], list[str]]],
) -> None:
    path, spoken = program
    voice = Voice(find_program=named("flite", path))
    impatient = asyncio.create_task(voice.speak(("New.",), PCMU))
    await asyncio.sleep(0)
    others = [asyncio.create_task(voice.speak(("New.",), PCMU)) for _ in range(5)]
    await asyncio.sleep(0)
    impatient.cancel()
    clips = await asyncio.gather(*others)
    assert all(clip == clips[0] for clip in clips)
    assert await voice.speak(("New.",), PCMU) == clips[0]
    assert spoken() == ["New."]


@pytest.mark.usefixtures("leaves_no_files")
async def test_what_nobody_waits_for_is_not_made(
    program: tuple[Path, Callable[[], list[str]]],
) -> None:
    path, spoken = program
    voice = Voice(find_program=named("flite", path))
    waiting = [asyncio.create_task(voice.speak(("hang.",), PCMU)) for _ in range(2)]
    async with asyncio.timeout(20):
        while not path.with_name("log").exists():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)
    (making,) = voice._tasks
    for task in waiting:
        assert not making.done()
        task.cancel()
        await asyncio.wait([task])
    await asyncio.wait([making], timeout=10)
    assert making.cancelled()
    again = asyncio.create_task(voice.speak(("hang.",), PCMU))  # does not wait for what is no more
    await asyncio.sleep(0)
    assert len(voice._tasks) == 1
    again.cancel()
    await asyncio.wait([again])
    await voice.close()
    assert spoken() == ["hang."]


async def test_a_line_is_not_longer_than_a_line_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.backend.voice.LONGEST_LINE_MS", 1000)
    voice = Voice(find_program=nothing)
    clips = await voice.speak(("Ten letters", "Ten letters", "Ten letters", "one"), PCM24K)
    assert [len(clip) for clip in clips] == [11 * 65 * 48, 48_000 - 11 * 65 * 48]
    (clip,) = await voice.speak(("x" * 100,), PCMU)
    assert len(clip) == 8000


async def test_a_program_that_has_no_end_of_words_is_not_read_to_its_end(
    program: tuple[Path, Callable[[], list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.backend.voice._SOUND_BYTES", 16_044)
    voice = Voice(find_program=named("flite", program[0]))
    (clip,) = await voice.speak(("Long.",), PCMU)
    assert len(clip) == 4000


@pytest.mark.parametrize("name", ["flite", "espeak-ng"])
@pytest.mark.parametrize("text", ["fail.", "quiet.", "noise.", "late."])
@pytest.mark.usefixtures("leaves_no_files")
async def test_a_program_that_fails_is_replaced_by_the_tone_and_logged_once(
    name: str, text: str, program: tuple[Path, Callable[[], list[str]]]
) -> None:
    voice = Voice(find_program=named(name, program[0]))
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            assert await voice.speak((text,), PCMU) == [tone(text, PCMU)]
    assert [line["event"] for line in logs] == ["backend.voice_failed"]


@pytest.mark.parametrize("path", ["nowhere", "{nowhere}"])
async def test_a_program_that_cannot_be_started_is_replaced_by_the_tone(path: str) -> None:
    voice = Voice(find_program=named("flite", Path("/", path)))
    with structlog.testing.capture_logs() as logs:
        assert await voice.speak(("Text.",), PCMU) == [tone("Text.", PCMU)]
    assert [line["error"][:17] for line in logs] == ["FileNotFoundError"]


async def test_without_a_place_for_files_there_is_the_tone(
    program: tuple[Path, Callable[[], list[str]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    voice = Voice(find_program=named("flite", program[0]))
    assert await voice.speak(("Text.",), PCMU) == [tone("Text.", PCMU)]


@pytest.mark.parametrize("error", [RuntimeError("closed"), BrokenPipeError(), ValueError("no")])
async def test_whatever_running_a_program_raises_becomes_the_tone(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    voice = Voice(find_program=named("flite", Path("flite")))
    with structlog.testing.capture_logs() as logs:
        assert await voice.speak(("Text.",), PCMU) == [tone("Text.", PCMU)]
    assert [line["event"] for line in logs] == ["backend.voice_failed"]


@pytest.mark.usefixtures("leaves_no_files")
async def test_a_program_that_hangs_is_killed(
    program: tuple[Path, Callable[[], list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.backend.voice._PROGRAM_TIMEOUT_S", 0.2)
    voice = Voice(find_program=named("flite", program[0]))
    assert await voice.speak(("hang.",), PCMU) == [tone("hang.", PCMU)]


@pytest.mark.usefixtures("leaves_no_files")
async def test_closing_stops_what_is_being_made(
    program: tuple[Path, Callable[[], list[str]]],
) -> None:
    path, spoken = program
    voice = Voice(find_program=named("flite", path))
    waiting = asyncio.create_task(voice.speak(("hang.",), PCMU))
    async with asyncio.timeout(20):
        while not path.with_name("log").exists():  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)
    await voice.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert spoken() == ["hang."]


# Without any.


async def test_without_a_program_a_tone_stands_for_the_text_and_the_log_says_so_once() -> None:
    voice = Voice(find_program=nothing)
    with structlog.testing.capture_logs() as logs:
        (short, long) = await voice.speak(("Short text.", "A text that is longer."), PCMA)
    assert [line["event"] for line in logs] == ["backend.no_voice"]
    assert len(short) == 11 * 65 * 8
    assert len(long) == 22 * 65 * 8
    samples = g711.decode(short, "pcma").astype(float)
    strongest = np.argmax(np.abs(np.fft.rfft(samples))) * 8000 / len(samples)
    assert strongest == pytest.approx(330, abs=2)
    assert np.abs(samples).max() < 2100
    assert np.abs(samples[:8]).max() < 100


async def test_a_tone_is_made_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def watched(phrase: str, audio_format: AudioFormat) -> bytes:
        threads.append(threading.current_thread())
        return tone(phrase, audio_format)

    monkeypatch.setattr("gateway.backend.voice.tone", watched)
    await Voice(find_program=nothing).speak(("Short text.",), PCMA)
    assert threads and threading.main_thread() not in threads


def test_a_long_tone_is_a_short_one_again_and_again() -> None:
    for audio_format in (PCMU, PCM24K):
        second = audio_format.bytes_per_ms * 1000
        sound = tone("x" * 100, audio_format)
        assert sound[second : 2 * second] == sound[2 * second : 3 * second]


async def test_the_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.backend.voice._CACHE_BYTES", 20_000)
    voice = Voice(find_program=nothing)
    for number in range(20):
        await voice.speak((f"Phrase number {number}",), PCMU)
        held = sum(len(clip) for clip in voice._made.values())
        assert held == voice._made_bytes <= 20_000
    assert len(voice._made) > 1


def test_wav_with_an_unknown_length_is_read(tmp_path: Path) -> None:
    """Programs that write to a pipe cannot go back and fill in the length."""
    path = tmp_path / "x.wav"
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(22_050)
        sound.writeframes(b"\0\1" * 22_050)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\x7f"
    assert len(decode_clip(bytes(data), PCMU)) == pytest.approx(8000, abs=10)
