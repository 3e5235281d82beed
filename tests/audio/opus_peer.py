"""The far end of an Opus leg, by FFmpeg, and what to make of audio that went through a codec."""

from collections.abc import Iterable
from fractions import Fraction
from functools import cache

import av
import numpy as np
from numpy.typing import NDArray

from gateway.audio.formats import AudioFormat
from tests.backend.speech_samples import prompt

Signal = NDArray[np.float64]

PEER_HZ = 48_000
SAMPLE_BYTES = 2


@cache
def spoken(rate_hz: int = 24_000) -> bytes:
    """Four seconds of a sentence."""
    format = AudioFormat("pcm16", rate_hz)
    return prompt("every-evening", format)[: 4000 * format.bytes_per_ms]


def frames(audio: bytes, rate_hz: int) -> list[bytes]:
    """All whole frames of 20 ms."""
    size = rate_hz // 50 * SAMPLE_BYTES
    return [audio[at : at + size] for at in range(0, len(audio) - size + 1, size)]


def signal(audio: bytes | Iterable[bytes]) -> Signal:
    whole = audio if isinstance(audio, bytes) else b"".join(audio)
    return np.frombuffer(whole, np.int16).astype(np.float64)


def level_db(sound: Signal) -> float:
    """Against full scale; of true silence, -200 dB."""
    return float(20 * np.log10(np.sqrt((sound**2).mean()) / 32768 + 1e-10))


def likeness(heard: Signal, said: Signal) -> float:
    """The correlation of two signals that lie at the same place in time."""
    return float(heard @ said / np.sqrt((heard @ heard) * (said @ said) + 1e-9))


def delay(heard: Signal, said: Signal) -> int:
    """By how many samples what was heard is behind what was said."""
    size = 1 << (len(heard) + len(said)).bit_length()
    product = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size))
    return int(np.fft.irfft(product, size)[: len(heard) // 4].argmax())


def aligned(heard: Signal, said: Signal) -> tuple[Signal, Signal]:
    """The two without the delay between them, as far as both go."""
    heard = heard[delay(heard, said) :]
    length = min(len(heard), len(said))
    return heard[:length], said[:length]


def sent(audio: bytes, *, layout: str = "mono", **options: str) -> list[bytes]:
    """Packets of FFmpeg's encoder.

    Args:
        audio: at 48 kHz, with the channels of `layout` one beside the other.
        options: those of FFmpeg's libopus, by name.
    """
    encoder = av.AudioCodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.format, encoder.layout, encoder.sample_rate = "s16", layout, PEER_HZ
    encoder.time_base = Fraction(1, PEER_HZ)
    encoder.options = options
    encoder.open()
    channels = encoder.layout.nb_channels
    size = encoder.frame_size * channels
    samples = np.frombuffer(audio, np.int16)
    packets = []
    for at in range(0, len(samples) - size + 1, size):
        frame = av.AudioFrame.from_ndarray(samples[None, at : at + size], "s16", layout)
        frame.sample_rate, frame.pts = PEER_HZ, at // channels
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets


def understood(packets: Iterable[bytes]) -> Signal:
    """What FFmpeg's own decoder, which is none of libopus, makes of packets: mono, at 48 kHz."""
    decoder = av.AudioCodecContext.create("opus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.layout, decoder.sample_rate = "mono", PEER_HZ
    decoded = [frame for packet in packets for frame in decoder.decode(av.Packet(packet))]
    return np.concatenate([frame.to_ndarray()[0] for frame in decoded]) * 32768.0


def stated_samples(payload: bytes) -> int:
    """The length of a packet at 48 kHz, by RFC 6716 section 3.1; 0 if it has none."""
    if not payload:
        return 0
    config = payload[0] >> 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config % 4]
    elif config < 16:
        frame = (480, 960)[config % 2]
    else:
        frame = (120, 240, 480, 960)[config % 4]
    code = payload[0] & 3
    if code == 3 and len(payload) < 2:
        return 0
    count = (1, 2, 2)[code] if code < 3 else payload[1] & 63
    return frame * count if frame * count <= 5760 else 0
