"""The agent's voice: from a phrase to its sound in a session's format.

A phrase is looked for in three places. The prompts of the built-in dialogue are Opus files,
rendered once. Other text is spoken by `flite` or `espeak-ng` when one of them is on the PATH:
always as a program of its own, because espeak-ng is under the GPL and is neither imported nor
required. Where there is neither, or it fails, a soft tone of the phrase's length stands for it, and
the log says so once.

What was made is remembered, so that a hundred calls greeted at once cost one greeting. What nobody
waits for any more is not made.
"""

import asyncio
import hashlib
import io
import re
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np
import structlog
from av.audio.resampler import AudioResampler

from gateway.audio import g711
from gateway.audio.formats import AudioFormat
from gateway.backend.dialogue import Line
from gateway.backend.speech import LONGEST_LINE_MS

PROMPTS: Final = Path(__file__).parent / "prompts"

_CACHE_BYTES: Final = 32 << 20
_PROGRAMS_AT_ONCE: Final = 2
_PROGRAM_TIMEOUT_S: Final = 20.0
_SOUND_BYTES: Final = 16 << 20
"""Of a program's sound as much is read: it has more to say to a row of digits than one expects."""
_TONE_HZ: Final = 330
_TONE_LEVEL: Final = 2000
_TONE_MS_PER_LETTER: Final = 65
_TONE_FADE_MS: Final = 30
_NAME_LETTERS: Final = 40

_log = structlog.get_logger()


class VoiceError(Exception):
    """Something that should be sound is not."""


def prompt_name(phrase: str) -> str:
    """The file name of a phrase's prompt. Case, and a comma or full stop at the end, do not count:
    the pause that they ask for is made when a line is put together."""
    spoken = phrase.lower().rstrip(".,")
    slug = re.sub(r"[^a-z0-9]+", "-", spoken)[:_NAME_LETTERS].strip("-")
    return f"{slug}-{hashlib.sha256(spoken.encode('utf-8', 'replace')).hexdigest()[:8]}.opus"


def decode_clip(data: bytes, audio_format: AudioFormat) -> bytes:
    """The sound of a file of any kind that FFmpeg reads (Opus, WAV), in `audio_format`.

    Raises:
        VoiceError: it holds no sound.
    """
    resampler = AudioResampler(format="s16", layout="mono", rate=audio_format.rate_hz)
    pieces = []
    try:
        with av.open(io.BytesIO(data), "r") as container:
            for frame in (*container.decode(audio=0), None):
                pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    except (av.FFmpegError, IndexError) as error:
        raise VoiceError(f"not a sound file: {error}") from None
    if not pieces:
        raise VoiceError("a sound file without sound")
    return _encode(np.concatenate(pieces), audio_format)


def tone(phrase: str, audio_format: AudioFormat) -> bytes:
    """A soft tone that lasts about as long as the phrase would."""
    rate_hz = audio_format.rate_hz
    # A second holds whole periods, so a longer tone is the same second again and again.
    second = np.sin(np.arange(rate_hz) * (2 * np.pi * _TONE_HZ / rate_hz)) * _TONE_LEVEL
    count = max(len(phrase), 4) * _TONE_MS_PER_LETTER * rate_hz // 1000
    wave = np.resize(second.astype(np.int16), count)
    fade = np.linspace(0, 1, _TONE_FADE_MS * rate_hz // 1000)
    wave[: len(fade)] = wave[: len(fade)] * fade
    wave[-len(fade) :] = wave[-len(fade) :] * fade[::-1]
    return _encode(wave, audio_format)


def _encode(samples: g711.Samples, audio_format: AudioFormat) -> bytes:
    if audio_format.encoding == "pcm16":
        return samples.tobytes()
    return g711.encode(samples, audio_format.encoding)


@dataclass(slots=True)
class _Making:
    """A clip that is being made, and how many wait for it."""

    task: asyncio.Task[bytes]
    waiting: int = 0


class Voice:
    """Speaks phrases. One for the process; used from one event loop."""

    def __init__(
        self,
        prompts: Path = PROMPTS,
        find_program: Callable[[str], str | None] = shutil.which,
    ) -> None:
        self._prompts = prompts
        self._program = _program(find_program)
        self._programs = asyncio.Semaphore(_PROGRAMS_AT_ONCE)
        self._made: OrderedDict[tuple[str, AudioFormat], bytes] = OrderedDict()
        self._made_bytes = 0
        self._making: dict[tuple[str, AudioFormat], _Making] = {}
        self._tasks: set[asyncio.Task[bytes]] = set()
        self._said_tone = False

    async def speak(self, line: Line, audio_format: AudioFormat) -> list[bytes]:
        """One clip for each phrase of the line, as far as it is not too long in all."""
        clips: list[bytes] = []
        room = LONGEST_LINE_MS * audio_format.bytes_per_ms
        for phrase in line:
            clip = await self._clip(phrase, audio_format)
            clips.append(clip[:room])
            room -= len(clip)
            if room <= 0:
                break
        return clips

    async def close(self) -> None:
        """Stop what is being made."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _clip(self, phrase: str, audio_format: AudioFormat) -> bytes:
        key = (phrase, audio_format)
        clip = self._made.get(key)
        if clip is not None:
            self._made.move_to_end(key)
            return clip
        making = self._making.get(key)
        if making is None:
            task = asyncio.create_task(self._make(phrase, audio_format))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            making = self._making[key] = _Making(task)
        making.waiting += 1
        try:
            # Others may wait for the same phrase: that one of them goes away does not stop it.
            return await asyncio.shield(making.task)
        finally:
            making.waiting -= 1
            if not making.waiting:
                making.task.cancel()
                del self._making[key]

    async def _make(self, phrase: str, audio_format: AudioFormat) -> bytes:
        clip = await self._prompt(phrase, audio_format) or await self._spoken(phrase, audio_format)
        if clip is None:
            if self._program is None and not self._said_tone:
                self._said_tone = True
                _log.warning("backend.no_voice", hint="install flite or espeak-ng for other text")
            clip = await asyncio.to_thread(tone, phrase, audio_format)
        clip = clip[: LONGEST_LINE_MS * audio_format.bytes_per_ms]
        self._made[phrase, audio_format] = clip
        self._made_bytes += len(clip)
        while self._made_bytes > _CACHE_BYTES:
            _, dropped = self._made.popitem(last=False)
            self._made_bytes -= len(dropped)
        return clip

    async def _prompt(self, phrase: str, audio_format: AudioFormat) -> bytes | None:
        path = self._prompts / prompt_name(phrase)
        return await asyncio.to_thread(_read_prompt, path, audio_format)

    async def _spoken(self, phrase: str, audio_format: AudioFormat) -> bytes | None:
        program = self._program
        if program is None:
            return None
        text = "".join(letter if letter.isprintable() else " " for letter in phrase)
        try:
            async with self._programs:
                data = await _speak(program, text)
            return await asyncio.to_thread(decode_clip, data, audio_format)
        except Exception as error:  # nothing that an outside program does may end a session
            _log.warning("backend.voice_failed", program=program[0], error=repr(error))
            return None


def _program(find: Callable[[str], str | None]) -> list[str] | None:
    """The command that speaks the file `{text}` into the WAV file `{sound}`."""
    flite = find("flite")
    if flite is not None:
        return [flite, "-voice", "slt", "-f", "{text}", "-o", "{sound}"]
    espeak = find("espeak-ng")
    if espeak is not None:
        return [espeak, "-f", "{text}", "-w", "{sound}"]
    return None


def _read_prompt(path: Path, audio_format: AudioFormat) -> bytes | None:
    try:
        return decode_clip(path.read_bytes(), audio_format)
    except FileNotFoundError:
        return None
    except (OSError, VoiceError) as error:
        _log.warning("backend.bad_prompt", file=path.name, error=repr(error))
        return None


async def _speak(program: list[str], text: str) -> bytes:
    """The WAV file that a program makes of a text; it is killed when it takes too long.

    Files and no pipes: under uvloop a pipe is a socket, which flite cannot open by its name, and a
    program that is done before it was given its input leaves a broken one behind.
    """
    with tempfile.TemporaryDirectory(prefix="gateway-voice-") as folder:
        files = {"text": Path(folder, "text"), "sound": Path(folder, "sound.wav")}
        files["text"].write_text(text, "utf-8", "replace")
        null = asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            program[0],
            *(argument.format_map(files) for argument in program[1:]),
            stdin=null,
            stdout=null,
            stderr=null,
        )
        try:
            async with asyncio.timeout(_PROGRAM_TIMEOUT_S):
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise VoiceError(f"exit status {process.returncode}")
        return await asyncio.to_thread(_read_start, files["sound"])


def _read_start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_SOUND_BYTES)
