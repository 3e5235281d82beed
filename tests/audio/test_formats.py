import pytest

from gateway.audio.formats import PCM24K, PCMA, PCMU, AudioFormat, AudioFormatError

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("format", "bytes_per_ms", "sample", "session"),
    [
        (PCMU, 8, b"\xff", {"type": "audio/pcmu"}),
        (PCMA, 8, b"\xd5", {"type": "audio/pcma"}),
        (PCM24K, 48, b"\0\0", {"type": "audio/pcm", "rate": 24000}),
        (AudioFormat("pcm16", 16_000), 32, b"\0\0", {"type": "audio/pcm", "rate": 16000}),
    ],
)
def test_sizes_silence_and_session(
    format: AudioFormat, bytes_per_ms: int, sample: bytes, session: dict[str, object]
) -> None:
    assert format.bytes_per_ms == bytes_per_ms
    assert format.bytes_per_sample == len(sample)
    assert format.silence(160) == sample * 160
    assert format.silence(0) == b""
    assert format.to_session() == session
    assert AudioFormat.from_session(session) == format


def test_pcm_without_a_rate_is_24_khz() -> None:
    assert AudioFormat.from_session({"type": "audio/pcm"}) == PCM24K


def test_a_rate_beside_g711_says_nothing() -> None:
    assert AudioFormat.from_session({"type": "audio/pcmu", "rate": 24000}) == PCMU


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"type": None},
        {"type": ["audio/pcm"]},
        {"type": "audio/opus"},
        {"type": "pcm16"},
        {"type": "audio/pcm", "rate": "24000"},
        {"type": "audio/pcm", "rate": None},
        {"type": "audio/pcm", "rate": True},
        {"type": "audio/pcm", "rate": 0},
        {"type": "audio/pcm", "rate": -24000},
        {"type": "audio/pcm", "rate": 22050},
        {"type": "audio/pcm", "rate": 96000},
    ],
)
def test_formats_of_a_session_that_cannot_be_carried(value: dict[str, object]) -> None:
    with pytest.raises(AudioFormatError):
        AudioFormat.from_session(value)


@pytest.mark.parametrize(("encoding", "rate_hz"), [("opus", 48_000), ("pcma", 16_000)])
def test_impossible_formats(encoding: str, rate_hz: int) -> None:
    with pytest.raises(AudioFormatError):
        AudioFormat(encoding, rate_hz)  # type: ignore[arg-type]
