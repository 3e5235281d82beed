"""What the phone makes of what it hears, says and was asked: all without sockets."""

import json
import wave
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.audio import g711
from gateway.audio.formats import PCMU, Law
from gateway.phone.listener import Listener, ReceivedPacket, Stretch, is_voice
from gateway.phone.options import CallOptions
from gateway.phone.result import CallResult
from gateway.phone.timeline import Moment, Timeline
from gateway.phone.uplink import (
    KeyImpossible,
    KeyPressed,
    Mark,
    SpeechBegan,
    SpeechEnded,
    Uplink,
)
from gateway.phone.wavefile import WavError, read_wav, recording, write_wav
from gateway.rtp.config import RtpConfig
from gateway.rtp.packet import RtpPacket
from gateway.rtp.session import RtpSession, RtpStats

pytestmark = pytest.mark.pure

SILENCE = PCMU.silence(160)
VOICE = g711.encode(np.full(160, 4000, np.int16), "pcmu")


# What is voice.


@pytest.mark.parametrize("law", ["pcmu", "pcma"])
def test_voice_is_energy_above_a_floor(law: Law) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, 160)
    assert not is_voice(g711.encode(np.zeros(160, np.int16), law), law)
    assert not is_voice(g711.encode((noise * 60).astype(np.int16), law), law)  # comfort noise
    assert is_voice(g711.encode((noise * 400).astype(np.int16), law), law)
    assert not is_voice(b"", law)


def test_stretches_end_after_200_ms_and_at_their_last_packet() -> None:
    listener = Listener()
    assert listener.passed(5.0) is None
    assert listener.voiced(1.0)
    assert not listener.voiced(1.15)
    assert listener.passed(1.34) is None
    assert listener.passed(1.35) == Stretch(1.0, 1.15, True)
    assert listener.passed(1.4) is None
    assert listener.voiced(2.0)
    assert listener.stretches == (Stretch(1.0, 1.15, True), Stretch(2.0, 2.0, False))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=60))
def test_stretches_cover_all_voice_and_nothing_else(gaps: list[int]) -> None:
    listener = Listener()
    arrivals = [sum(gaps[: index + 1]) / 1000 for index in range(len(gaps))]
    for at_s in arrivals:
        listener.passed(at_s)
        listener.voiced(at_s)
    stretches = listener.stretches
    assert [part.stopped for part in stretches] == [True] * (len(stretches) - 1) + [False]
    for before, after in pairwise(stretches):
        assert after.start_s - before.end_s >= 0.2 - 1e-9
    for at_s in arrivals:
        assert any(part.start_s <= at_s <= part.end_s for part in stretches)
    assert {part.start_s for part in stretches} <= set(arrivals)
    assert {part.end_s for part in stretches} <= set(arrivals)


def test_the_timeline_puts_silence_where_it_began() -> None:
    told: list[Moment] = []
    timeline = Timeline(10.0, told.append)
    for index in range(20):
        payload = VOICE if index < 5 else SILENCE
        heard = timeline.packet(
            11.0 + index / 50,
            "pcmu",
            timestamp=160 * index,
            payload=payload,
            ssrc=1,
            sequence_number=index,
        )
        assert heard == (index < 5)
        if index == 6:
            timeline.note(11.13, "digit", "1")
    assert [moment.event for moment in told] == ["voice", "digit", "silence"]
    assert [moment.event for moment in timeline.moments] == ["voice", "silence", "digit"]
    assert timeline.moments[1].at_s == pytest.approx(1.08)
    assert len(timeline.received) == 20


# What is said.


def session(dtmf: tuple[int, ...] = (101,)) -> RtpSession:
    return RtpSession(
        RtpConfig(payload_type=0, dtmf_payload_types=dtmf, remote=("192.0.2.1", 4000)),
        ssrc=5,
        first_sequence=65_534,
        first_timestamp=2**32 - 320,
        cname="x",
        random=lambda: 0.5,
    )


def run(uplink: Uplink, frames: int, muted: bool = False) -> tuple[list[RtpPacket], list[Mark]]:
    packets: list[RtpPacket] = []
    marks: list[Mark] = []
    for _ in range(frames):
        frame = uplink.frame(muted=muted)
        packets += [RtpPacket.parse(datagram) for datagram in frame.datagrams]
        marks += frame.marks
    return packets, marks


def test_silence_is_sent_until_there_is_something_to_say() -> None:
    voice = np.full(400, 4000, "<i2")  # two and a half frames
    uplink = Uplink(session(), "pcmu", voice.tobytes(), 160)
    packets, marks = run(uplink, 2)
    assert [packet.payload for packet in packets] == [SILENCE, SILENCE] and not marks
    uplink.speak(interrupts=True)
    packets, marks = run(uplink, 5)
    assert marks == [SpeechBegan(True), SpeechEnded()]
    said = g711.encode(voice, "pcmu") + SILENCE[:80]
    assert b"".join(packet.payload for packet in packets) == said + 2 * SILENCE
    assert [packet.sequence_number for packet in packets] == [0, 1, 2, 3, 4]
    assert [packet.timestamp for packet in packets] == [0, 160, 320, 480, 640]


def test_with_nothing_to_say_speaking_is_silence() -> None:
    uplink = Uplink(session(), "pcma", b"", 160)
    uplink.speak(interrupts=False)
    packets, marks = run(uplink, 3)
    assert {packet.payload for packet in packets} == {b"\xd5" * 160} and not marks


def test_keys_take_the_place_of_speech_one_after_the_other() -> None:
    voice = np.full(4 * 160, 4000, "<i2")
    uplink = Uplink(session(), "pcmu", voice.tobytes(), 160)
    uplink.speak(interrupts=False)
    first, _ = run(uplink, 2)
    uplink.press("1")
    uplink.press("#")
    packets, marks = run(uplink, 12)
    assert marks == [KeyPressed("1"), KeyPressed("#")]
    keys = [packet for packet in packets if packet.payload_type == 101]
    assert [packet.payload[0] for packet in keys] == [1] * 7 + [11] * 7
    assert len({packet.timestamp for packet in keys}) == 2
    assert [packet.marker for packet in keys] == [index in (0, 7) for index in range(14)]
    speech = [packet.payload for packet in packets if packet.payload_type == 0]
    assert speech == [VOICE, VOICE]  # it goes on where it stood
    numbers = [packet.sequence_number for packet in (*first, *packets)]
    assert all((b - a) % 65_536 == 1 for a, b in pairwise(numbers))


def test_keys_need_an_agreement() -> None:
    uplink = Uplink(session(dtmf=()), "pcmu", b"", 160)
    uplink.press("5")
    packets, marks = run(uplink, 2)
    assert marks == [KeyImpossible("5")] and len(packets) == 2


def test_on_hold_time_passes_and_nothing_is_sent() -> None:
    uplink = Uplink(session(), "pcmu", b"", 160)
    uplink.press("1")
    before, _ = run(uplink, 2)
    assert not run(uplink, 10, muted=True)[0]
    after, _ = run(uplink, 1)
    assert after[0].payload == SILENCE and after[0].marker
    assert after[0].sequence_number == (before[-1].sequence_number + 1) % 65_536
    assert after[0].timestamp == (before[0].timestamp + 12 * 160) % 2**32


# WAV files.


def packets_of(*entries: tuple[float, int, bytes], ssrc: int = 1) -> list[ReceivedPacket]:
    return [
        ReceivedPacket(at_s, timestamp % 2**32, payload, ssrc, 0)
        for at_s, timestamp, payload in entries
    ]


def test_a_recording_is_laid_out_by_timestamps() -> None:
    one, two, three = (bytes([code]) * 160 for code in (1, 2, 3))
    start = 2**32 - 160  # wraps
    packets = packets_of(
        (0.00, start, one),
        (0.05, start + 480, three),  # the packet at 320 is lost
        (0.06, start + 160, two),  # late
    )
    expected = one + two + b"\xff" * 160 + three
    assert recording(packets, "pcmu") == g711.decode(expected, "pcmu").tobytes()
    assert recording([], "pcmu") == b""


def test_a_recording_follows_a_new_source_and_a_jump_by_arrival() -> None:
    one, two, three = (bytes([code]) * 160 for code in (1, 2, 3))
    packets = [
        *packets_of((0.0, 0, one)),
        *packets_of((0.02, 99_999, two), ssrc=2),
        *packets_of((0.04, 3_000_000_000, three), ssrc=2),
    ]
    assert recording(packets, "pcma") == g711.decode(one + two + three, "pcma").tobytes()


def test_a_recording_stays_bounded_whatever_comes() -> None:
    rng = np.random.default_rng(2)
    packets = [
        ReceivedPacket(index / 50, int(rng.integers(2**32)), VOICE, int(rng.integers(3)), 0)
        for index in range(200)
    ]
    assert len(recording(packets, "pcmu")) < 2 * 8000 * 8


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_wav_files_are_played_at_8_khz(tmp_path: Path, rate_hz: int, channels: int) -> None:
    path = tmp_path / "in.wav"
    time_s = np.arange(rate_hz // 2) / rate_hz
    tone = (8000 * np.sin(2 * np.pi * 1000 * time_s)).astype("<i2")
    frames = np.stack([tone, tone], axis=1) if channels == 2 else tone
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(frames.tobytes())
    played = np.frombuffer(read_wav(path), "<i2").astype(float)
    assert len(played) == 4000
    spectrum = np.abs(np.fft.rfft(played))
    assert int(np.argmax(spectrum)) == 500  # 1 kHz in bins of 2 Hz
    assert np.sqrt(np.mean(played**2)) == pytest.approx(8000 / np.sqrt(2), rel=0.02)


def test_a_recording_can_be_read_back(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    audio = np.arange(-500, 500, dtype="<i2").tobytes()
    write_wav(path, audio)
    assert read_wav(path) == audio


def test_files_that_cannot_be_played_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.wav"
    with pytest.raises(WavError):
        read_wav(path)
    for content in (b"", b"RIFF", b"not a wave file at all"):
        path.write_bytes(content)
        with pytest.raises(WavError):
            read_wav(path)
    for width, rate_hz, channels in ((1, 8000, 1), (2, 11_025, 1), (2, 8000, 3)):
        with wave.open(str(path), "wb") as file:
            file.setnchannels(channels)
            file.setsampwidth(width)
            file.setframerate(rate_hz)
            file.writeframes(bytes(60))
        with pytest.raises(WavError, match="can be played"):
            read_wav(path)


# What it was asked, and what came of it.


@pytest.mark.parametrize(
    "wrong",
    [
        {"uri": "agent"},
        {"uri": "sips:agent@192.0.2.1"},
        {"uri": "tel:+123"},
        {"uri": "sip:agent@192.0.2.1;transport=tls"},
        {"uri": "sip:agent@192.0.2.1:0"},
        {"uri": "sip:agent@192.0.2.1", "codecs": ()},
        {"uri": "sip:agent@192.0.2.1", "caller": "a b"},
        {"uri": "sip:agent@192.0.2.1", "caller": "x\r\nVia: y"},
        {"uri": "sip:agent@192.0.2.1", "answer_timeout_s": 0.0},
        {"uri": "sip:agent@192.0.2.1", "voice": b"odd"},
    ],
)
def test_what_cannot_be_dialled_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        CallOptions(**wrong)  # type: ignore[arg-type]


def test_addresses_of_both_ends() -> None:
    options = CallOptions(uri="sip:agent@[2001:db8::1];Transport=TCP", caller="+49*12#")
    assert (options.transport, options.remote) == ("tcp", ("2001:db8::1", 5060))
    assert options.caller_uri("2001:db8::2") == "sip:+49*12%23@[2001:db8::2]"
    options = CallOptions(uri="sip:agent@example.com:5070", caller="sip:alice@example.com")
    assert (options.transport, options.remote) == ("udp", ("example.com", 5070))
    assert options.caller_uri("192.0.2.1") == "sip:alice@example.com"


def a_result(
    timeline: tuple[Moment, ...],
    voice: tuple[Stretch, ...] = (),
    status: int | None = 200,
    end_reason: str = "local_bye",
    rtp: RtpStats | None = None,
) -> CallResult:
    return CallResult("sip:a@b", "pcmu", status, end_reason, 8.0, timeline, voice, (), rtp)


ANSWERED = Moment(0.1, "answered", "pcmu")


@pytest.mark.parametrize(
    ("voice", "stopped_s", "latency_s"),
    [
        ((), None, None),
        ((Stretch(1.0, 3.25, True),), 3.25, 0.25),
        ((Stretch(1.0, 2.9, True), Stretch(5.0, 6.0, True)), 2.9, 0.0),  # inside a short gap
        ((Stretch(1.0, 2.0, True), Stretch(5.0, 6.0, True)), None, None),  # already silent
        ((Stretch(1.0, 7.9, False),), None, None),  # went on to the end
        ((Stretch(1.0, 1.5, True), Stretch(2.5, 4.0, True), Stretch(5.0, 6.0, True)), 4.0, 1.0),
    ],
)
def test_when_an_interrupted_voice_stopped(
    voice: tuple[Stretch, ...], stopped_s: float | None, latency_s: float | None
) -> None:
    result = a_result((ANSWERED, Moment(3.0, "interrupting")), voice)
    assert result.voice_stopped_s == stopped_s
    assert result.stop_latency_s == latency_s
    assert result.spoke_s == 3.0


@pytest.mark.parametrize(
    ("status", "end_reason", "words"),
    [
        (486, "refused", "busy (486 Busy Here)"),
        (404, "refused", "refused (404 Not Found)"),
        (408, "timeout", "no response from sip:a@b"),
        (None, "transport", "sip:a@b cannot be reached"),
        (None, "no_answer", "no answer after 8 s"),
        (None, "cancelled", "given up before it was answered"),
    ],
)
def test_why_a_call_failed(status: int | None, end_reason: str, words: str) -> None:
    result = a_result((), status=status, end_reason=end_reason)
    assert result.error == words and not result.ok
    assert result.to_json()["error"] == words


def test_the_json_has_everything_in_milliseconds() -> None:
    result = a_result(
        (
            Moment(0.01, "ringing", "180"),
            ANSWERED,
            Moment(1.0, "digit", "1"),
            Moment(1.2, "digit", "#"),
            Moment(3.0, "interrupting"),
        ),
        (Stretch(0.2, 3.25, True),),
    )
    told = json.loads(json.dumps(result.to_json()))
    timeline = told.pop("timeline")
    assert timeline[0] == {"at_ms": 10.0, "event": "ringing", "detail": "180"}
    assert told == {
        "ok": True,
        "error": None,
        "uri": "sip:a@b",
        "answered": True,
        "status": 200,
        "end_reason": "local_bye",
        "codec": "pcmu",
        "ringing_ms": 10.0,
        "setup_ms": 100.0,
        "first_audio_ms": 200.0,
        "digits": "1#",
        "digits_ms": [1000.0, 1200.0],
        "spoke_ms": 3000.0,
        "interrupted_at_ms": 3000.0,
        "voice_stopped_ms": 3250.0,
        "stop_latency_ms": 250.0,
        "voice_ms": [[200.0, 3250.0]],
        "ended_ms": 8000.0,
        "rtp": {
            "sent": 0,
            "received": 0,
            "lost": 0,
            "late": 0,
            "duplicate": 0,
            "jitter_ms": 0.0,
        },
    }
