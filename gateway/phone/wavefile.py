"""WAV files: what the phone plays, and what it heard as a file.

A recording is laid out by the RTP timestamps, not by arrival, so that it sounds as it was meant and
packets that were late or out of order stand where they belong; what was lost is silence. A stream
whose timestamps jump (another source, a restarted sender) is placed anew by its arrival.
"""

import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from gateway.audio import g711
from gateway.audio.formats import AudioFormat, Law
from gateway.audio.transcode import Transcoder
from gateway.phone.listener import ReceivedPacket
from gateway.rtp.sequence import timestamp_delta

_RATE_HZ: Final = 8000
_RATES_HZ: Final = (8000, 16_000, 24_000, 48_000)
_JUMP_SAMPLES: Final = 2 * _RATE_HZ
"""Time of the stream and time of arrival may differ by this; beyond it they are unrelated."""
_MAX_SECONDS: Final = 600


class WavError(Exception):
    """A file that cannot be played; says why."""


def read_wav(path: Path) -> bytes:
    """Linear 16-bit samples at 8 kHz, mono, of a WAV file.

    Raises:
        WavError: it cannot be read, or is of another kind than 16-bit PCM with one or two channels
            at 8, 16, 24 or 48 kHz.
    """
    try:
        with wave.open(str(path), "rb") as file:
            width, channels, rate_hz = (
                file.getsampwidth(),
                file.getnchannels(),
                file.getframerate(),
            )
            if width != 2 or channels not in (1, 2) or rate_hz not in _RATES_HZ:
                raise WavError(
                    f"{path}: {8 * width} bit, {channels} channels, {rate_hz} Hz; "
                    "16 bit, 1 or 2 channels and 8, 16, 24 or 48 kHz can be played"
                )
            audio = file.readframes(_MAX_SECONDS * rate_hz)
    except (OSError, EOFError, wave.Error) as error:
        raise WavError(f"{path}: {error or 'the file is cut off'}") from error
    audio = audio[: len(audio) - len(audio) % (2 * channels)]
    if channels == 2:
        both = np.frombuffer(audio, "<i2").reshape(-1, 2).astype(np.int32)
        audio = (both.sum(axis=1) // 2).astype("<i2").tobytes()
    transcoder = Transcoder(AudioFormat("pcm16", rate_hz), AudioFormat("pcm16", _RATE_HZ))
    return transcoder.convert(audio) + transcoder.flush()


def write_wav(path: Path, audio: bytes) -> None:
    """Write linear 16-bit samples at 8 kHz, mono. Raises OSError."""
    with path.open("wb") as stream, wave.open(stream, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE_HZ)
        file.writeframes(audio)


def recording(packets: Sequence[ReceivedPacket], law: Law) -> bytes:
    """What was received, as linear 16-bit samples at 8 kHz; it begins with the first packet."""
    if not packets:
        return b""
    begin = packets[0]
    anchor, anchor_at = begin, 0
    placed: list[tuple[int, bytes]] = []
    for packet in packets:
        arrived_at = round((packet.arrival_s - begin.arrival_s) * _RATE_HZ)
        at = anchor_at + timestamp_delta(packet.timestamp, anchor.timestamp)
        if packet.ssrc != anchor.ssrc or abs(at - arrived_at) > _JUMP_SAMPLES:
            anchor, anchor_at = packet, arrived_at
            at = arrived_at
        if at >= 0:
            placed.append((at, packet.payload))
    samples = np.zeros(max(at + len(payload) for at, payload in placed), np.int16)
    for at, payload in placed:
        samples[at : at + len(payload)] = g711.decode(payload, law)
    return samples.astype("<i2").tobytes()
