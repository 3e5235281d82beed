"""Updates of a session's configuration."""

from copy import deepcopy
from typing import Any

import pytest

from gateway.audio.formats import PCM24K, PCMA
from gateway.backend.session_config import SessionConfig
from gateway.backend.turns import TurnSettings
from gateway.realtime.errors import RealtimeError

pytestmark = pytest.mark.pure


def config() -> SessionConfig:
    return SessionConfig("sess_1", model="m", expires_at=1)


def update(target: SessionConfig, session: object, *, voice_locked: bool = False) -> None:
    target.update(session, voice_locked=voice_locked)


def test_only_what_is_present_changes() -> None:
    target = config()
    before = target.shown()
    vad = {"type": "server_vad", "threshold": 0.8}
    update(
        target,
        {
            "type": "realtime",
            "instructions": "Be kind.",
            "audio": {"input": {"turn_detection": vad}, "output": {"voice": "marin"}},
        },
    )
    after = target.shown()
    assert after["instructions"] == "Be kind."
    assert after["audio"]["output"] == before["audio"]["output"] | {"voice": "marin"}
    expected = before["audio"]["input"]["turn_detection"] | {"threshold": 0.8}
    assert after["audio"]["input"]["turn_detection"] == expected
    assert target.turns == TurnSettings(threshold=0.8)
    assert target.input_format == PCM24K


def test_fields_that_are_not_read_are_kept_and_shown() -> None:
    target = config()
    tools = [{"type": "function", "name": "f", "parameters": {}}]
    update(target, {"type": "realtime", "tools": tools, "tomorrow": {"x": 1}})
    tools[0]["name"] = "changed"
    assert target.shown()["tools"][0]["name"] == "f"
    assert target.shown()["tomorrow"] == {"x": 1}


def test_identity_and_model_are_not_the_clients_to_change() -> None:
    target = config()
    update(target, {"type": "realtime", "model": "x", "id": "y", "object": "z", "expires_at": 9})
    shown = target.shown()
    assert (shown["model"], shown["id"], shown["expires_at"]) == ("m", "sess_1", 1)


def test_turn_detection_off_and_on_again() -> None:
    target = config()
    vad = {"type": "server_vad", "silence_duration_ms": 200}
    update(target, {"type": "realtime", "audio": {"input": {"turn_detection": vad}}})
    update(target, {"type": "realtime", "audio": {"input": {"turn_detection": None}}})
    assert target.turns is None
    assert target.shown()["audio"]["input"]["turn_detection"] is None
    on = {"type": "server_vad"}
    update(target, {"type": "realtime", "audio": {"input": {"turn_detection": on}}})
    assert target.turns == TurnSettings()


def test_the_voice_is_locked_once_it_was_heard() -> None:
    target = config()
    voice = {"type": "realtime", "audio": {"output": {"voice": "marin"}}, "instructions": "no"}
    with pytest.raises(RealtimeError) as refused:
        update(target, voice, voice_locked=True)
    assert refused.value.code == "cannot_update_voice"
    assert target.shown()["instructions"] == ""
    same = {"audio": {"output": {"voice": "built-in"}}}
    update(target, {"type": "realtime", **same}, voice_locked=True)


def test_a_format_is_shown_in_full() -> None:
    target = config()
    audio = {
        "input": {"format": {"type": "audio/pcma"}},
        "output": {"format": {"type": "audio/pcm"}},
    }
    update(target, {"type": "realtime", "audio": audio})
    assert target.input_format == PCMA
    assert target.shown()["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}


def test_the_ends_of_the_ranges_are_allowed() -> None:
    target = config()
    for threshold in (0, 1):
        vad = {"threshold": threshold, "prefix_padding_ms": 0, "silence_duration_ms": 0}
        update(target, {"type": "realtime", "audio": {"input": {"turn_detection": vad}}})
        assert target.turns == TurnSettings(threshold, 0, 0)


@pytest.mark.parametrize(
    ("eagerness", "silence_ms"), (("low", 2000), ("auto", 800), ("medium", 800), ("high", 400))
)
def test_semantic_vad_waits_as_long_as_it_is_not_eager(eagerness: str, silence_ms: int) -> None:
    target = config()
    vad = {"type": "semantic_vad", "eagerness": eagerness, "create_response": False}
    update(target, {"type": "realtime", "audio": {"input": {"turn_detection": vad}}})
    shown = target.shown()["audio"]["input"]["turn_detection"]
    assert shown == vad | {"interrupt_response": True}
    assert target.turns == TurnSettings(silence_duration_ms=silence_ms, create_response=False)
    update(
        target, {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}}
    )
    assert target.turns == TurnSettings()


INPUT, VAD = "session.audio.input", "session.audio.input.turn_detection"


@pytest.mark.parametrize(
    ("session", "param"),
    [
        (None, "session"),
        ({}, "session.type"),
        ({"type": "transcription"}, "session.type"),
        ({"type": "realtime", "output_modalities": ["text"]}, "session.output_modalities"),
        ({"type": "realtime", "audio": []}, "session.audio"),
        ({"type": "realtime", "audio": {"input": 1}}, INPUT),
        ({"type": "realtime", "audio": {"input": {"format": None}}}, f"{INPUT}.format"),
        (
            {"type": "realtime", "audio": {"input": {"format": {"type": "audio/opus"}}}},
            f"{INPUT}.format",
        ),
        (
            {
                "type": "realtime",
                "audio": {"output": {"format": {"type": "audio/pcm", "rate": 8000}}},
            },
            "session.audio.output.format",
        ),
        ({"type": "realtime", "audio": {"input": {"turn_detection": 5}}}, VAD),
        *(
            (
                {"type": "realtime", "audio": {"input": {"turn_detection": {name: value}}}},
                f"{VAD}.{name}",
            )
            for name, value in [
                ("type", "cosmic_vad"),
                ("eagerness", "high"),
                ("threshold", 1.1),
                ("threshold", float("nan")),
                ("threshold", True),
                ("prefix_padding_ms", -1),
                ("silence_duration_ms", 1.5),
                ("create_response", 1),
                ("interrupt_response", None),
            ]
        ),
    ],
)
def test_a_wrong_field_is_named_and_nothing_changes(session: Any, param: str) -> None:
    target = config()
    before = deepcopy((target.shown(), target.turns, target.input_format, target.output_format))
    if isinstance(session, dict):
        session["instructions"] = "must not arrive"
    with pytest.raises(RealtimeError) as refused:
        update(target, session)
    assert refused.value.param == param
    assert before == (target.shown(), target.turns, target.input_format, target.output_format)
