"""baresip calls the embedded agent: a real softphone, real speech, and what it recorded.

Three calls run side by side: two callers interrupt the greeting by speaking, one hears it out.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.ahead import Ahead, looks_at
from tests.peers.audio import (
    RATE_HZ,
    Signal,
    likeness,
    read_sound,
    silence,
    spoken,
    voiced,
    write_wav,
)
from tests.peers.baresip import BaresipCall, Recording, need_baresip
from tests.peers.gateway import HOST, ROOT, GatewayProcess, LogLine, free_port
from tests.sdk import authority

pytestmark = [pytest.mark.peer, pytest.mark.slow]

AGENT = ROOT / "gateway" / "backend"
SPEECH_AT_S = 5.0
TALK_S = 14
LISTEN_S = 22


@dataclass
class Outcome:
    """One call, as the softphone and as the gateway saw it."""

    transport: str
    codec: str
    encryption: str
    recording: Recording
    record: LogLine
    speech_s: float
    security: str
    """Of the media, as the gateway has it."""


def prompt(phrase: str) -> Signal:
    """What the agent plays for this phrase."""
    slug = re.sub(r"[^a-z0-9]+", "-", phrase.lower())[:40].strip("-")
    files = sorted((AGENT / "prompts").glob(f"{slug}-*.opus"))
    assert len(files) == 1, f"prompts for {phrase!r}: {files}"
    return read_sound(files[0])


def greeting() -> list[str]:
    """The sentences of the first state of the default dialogue."""
    dialogue = tomllib.loads((AGENT / "dialogues" / "default.toml").read_text())
    text = dialogue["states"][dialogue["start"]]["say"].replace("!", ".")
    return [sentence.strip() for sentence in text.split(".") if sentence.strip()]


def softphone_calls(directory: Path) -> list[Outcome]:
    """All calls at once, and what became of each."""
    need_baresip()
    speech = spoken("Hello, can you hear me? I would like to know who you are.", directory)
    speaking, listening = directory / "speaking.wav", directory / "listening.wav"
    write_wav(speaking, np.concatenate((silence(SPEECH_AT_S), speech, silence(TALK_S))))
    write_wav(listening, silence(LISTEN_S + 10))
    plan = [
        ("udp", "PCMU", "", speaking, TALK_S),
        ("tcp", "PCMA", "", speaking, TALK_S),
        ("udp", "PCMA", "", listening, LISTEN_S),
        ("tls", "PCMU", "srtp-mand", speaking, TALK_S),
        ("tls", "PCMA", "srtp", speaking, TALK_S),
        ("tls", "PCMU", "", speaking, TALK_S),
    ]
    files = authority.make(directory)
    tls_port = free_port()
    env = {
        "GATEWAY_SIP_TLS_PORT": str(tls_port),
        "GATEWAY_SIP_TLS_CERT": str(files.certificate),
        "GATEWAY_SIP_TLS_KEY": str(files.key),
    }
    with GatewayProcess(env=env) as gateway:
        calls, ids = [], []
        for number, (transport, codec, encryption, microphone, duration_s) in enumerate(plan):
            mark = gateway.mark()
            (directory / f"phone-{number}").mkdir()
            call = BaresipCall(
                (HOST, tls_port) if transport == "tls" else gateway.sip,
                directory / f"phone-{number}",
                transport=transport,
                codec=codec,
                microphone=microphone,
                duration_s=duration_s,
                encryption=encryption,
                files=files,
            )
            calls.append(call)
            ids.append(gateway.wait_for("call.incoming", 10, mark)["call_id"])
        recordings = [call.result() for call in calls]
        records = [gateway.wait_for("call.ended", 10, call_id=call_id) for call_id in ids]
        answers = [gateway.wait_for("call.answered", 10, call_id=call_id) for call_id in ids]
        assert len(gateway.ended_calls()) == len(plan)
    return [
        Outcome(
            *(transport, codec, encryption, recording, record, len(speech) / RATE_HZ),
            security=str(answer["media_security"]),
        )
        for (transport, codec, encryption, *_), recording, record, answer in zip(
            plan, recordings, records, answers, strict=True
        )
    ]


@pytest.fixture(scope="module")
def outcomes(ahead: Ahead) -> list[Outcome]:
    return ahead.result(softphone_calls)


@looks_at(softphone_calls)
@pytest.mark.parametrize("number", [0, 1, 3, 4, 5])
def test_speech_interrupts_the_greeting_and_is_answered(
    outcomes: list[Outcome], number: int
) -> None:
    outcome = outcomes[number]
    heard = outcome.recording.heard
    first, second = (prompt(sentence) for sentence in greeting()[:2])
    assert likeness(first, heard)[0] > 0.9
    assert likeness(second, heard)[0] > 0.9

    speech_end_s = SPEECH_AT_S + outcome.speech_s
    stretches = voiced(heard)
    stops = [end for _, end in stretches if end > SPEECH_AT_S - 0.5]
    assert stops and stops[0] < SPEECH_AT_S + 1.2, stretches  # the voice stopped
    answers = [start for start, _ in stretches if start > speech_end_s - 0.5]
    assert answers and answers[0] < speech_end_s + 2.5, stretches  # and then answered

    seconds = ("two seconds", "three seconds", "four seconds", "five seconds")
    likely = [
        likeness(prompt(f"I heard you speak for about {length}"), heard) for length in seconds
    ]
    best, at_s = max(likely)
    assert best > 0.9 and at_s > SPEECH_AT_S

    record = outcome.record
    assert record["reason"] == "remote_bye" and record["codec"] == outcome.codec.lower()
    assert record["turns"] == 2 and record["bargeins"] == 1 and record["dtmf_count"] == 0
    assert 0 < record["response_ms_p50"] < 2500
    assert TALK_S - 3 < record["duration_s"] < TALK_S + 2
    assert record["rtp_lost"] == 0 and record["mos"] > 4


@looks_at(softphone_calls)
def test_the_greeting_is_heard_whole(outcomes: list[Outcome]) -> None:
    outcome = outcomes[2]
    heard = outcome.recording.heard
    found = [likeness(prompt(sentence), heard) for sentence in greeting()]
    assert all(quality > 0.9 for quality, _ in found), found
    places = [at_s for _, at_s in found]
    assert places == sorted(places)
    first_s, last_s = voiced(heard)[0][0], voiced(heard)[-1][1]
    assert first_s < 1.5  # no dead air at the answer
    assert last_s - first_s > 10
    record = outcome.record
    assert record["turns"] == 1 and record["bargeins"] == 0
    assert abs(record["rtp_sent"] - 50 * record["duration_s"]) < 25


@looks_at(softphone_calls)
def test_each_phone_saw_an_ordinary_call(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        assert "Call established" in outcome.recording.output, outcome.recording.output[-2000:]


@looks_at(softphone_calls)
def test_media_is_encrypted_for_who_wants_it(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        assert outcome.security == ("srtp" if outcome.encryption else "rtp"), outcome.encryption
