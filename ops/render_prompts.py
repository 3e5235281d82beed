"""Renders the prompts of the built-in dialogue with flite, as small Opus files.

Run it after the dialogue has changed; it renders what is missing and removes what is not used any
more. With --all everything is rendered anew. flite is needed here and nowhere else.
"""

import argparse
import io
import shutil
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from gateway.audio.formats import AudioFormat
from gateway.backend.config import DEFAULT_DIALOGUE
from gateway.backend.dialogue_parse import parse_dialogue
from gateway.backend.voice import PROMPTS, decode_clip, prompt_name

Samples = NDArray[np.float32]

VOICE = "slt"
RATE_HZ = 16_000
BIT_RATE = 14_000
PEAK = 0.5
QUIET = 0.005  # of full scale: below it is not speech
MARGIN_MS = 30  # kept around the speech


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="render what exists, too")
    everything = parser.parse_args().all
    flite = shutil.which("flite")
    if flite is None:
        sys.exit("flite is not on the PATH")
    phrases = {prompt_name(p): p for p in parse_dialogue(DEFAULT_DIALOGUE.read_text()).phrases()}
    PROMPTS.mkdir(exist_ok=True)
    for path in PROMPTS.glob("*.opus"):
        if path.name not in phrases:
            path.unlink()
            print("removed", path.name)
    for name, phrase in phrases.items():
        path = PROMPTS / name
        if everything or not path.exists():
            path.write_bytes(encode(trim(speak(flite, phrase))))
            print(f"{path.stat().st_size:6d}", name)


def speak(flite: str, phrase: str) -> Samples:
    """The phrase in flite's voice: float samples at RATE_HZ."""
    command = [flite, "-voice", VOICE, "-o", "/dev/stdout", "-t", phrase]
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    samples = np.frombuffer(decode_clip(wav, AudioFormat("pcm16", RATE_HZ)), np.int16)
    return samples.astype(np.float32) / np.float32(32768)


def trim(samples: Samples) -> Samples:
    """Cut the silence at both ends, and bring every prompt to the same peak."""
    loud = np.flatnonzero(np.abs(samples) > QUIET)
    margin = MARGIN_MS * RATE_HZ // 1000
    first, last = max(loud[0] - margin, 0), loud[-1] + margin
    speech = samples[first:last]
    return speech * np.float32(PEAK / float(np.abs(speech).max()))


def encode(samples: Samples) -> bytes:
    """Opus in Ogg. Bit-exact, so that the same prompt is the same file."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libopus", rate=RATE_HZ, layout="mono")
        stream.bit_rate = BIT_RATE
        stream.options = {"application": "voip"}
        frame = AudioFrame.from_ndarray(
            (samples * 32767).astype(np.int16)[np.newaxis], format="s16", layout="mono"
        )
        frame.sample_rate = RATE_HZ
        frame.time_base = Fraction(1, RATE_HZ)
        frame.pts = 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return file.getvalue()


if __name__ == "__main__":
    main()
