"""Updates of a session's configuration."""

from copy import deepcopy
from typing import Any

import pytest

from gateway.audio.formats import PCM24K, PCMA
from gateway.backend.session_config import Kind, SessionConfig
from gateway.backend.turns import TurnSettings
from gateway.realtime.client_events import check_client_event
from gateway.realtime.errors import RealtimeError

pytestmark = pytest.mark.pure


def config(kind: Kind = "realtime") -> SessionConfig:
    return SessionConfig("sess_1", kind, model="m", expires_at=1)


def update(target: SessionConfig, session: Any, *, voice_locked: bool = False) -> None:
    """As it comes from a client: checked before."""
    check_client_event({"type": "session.update", "session": session})
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
    prompt = {"id": "pmpt_1", "variables": {"x": "1"}}
    audio = {"output": {"speed": 1.2}}
    update(target, {"type": "realtime", "tools": tools, "prompt": prompt, "audio": audio})
    tools[0]["name"] = "changed"
    shown = target.shown()
    assert shown["tools"][0]["name"] == "f"
    assert shown["prompt"] == prompt
    assert shown["audio"]["output"]["speed"] == 1.2


def test_identity_and_model_are_not_the_clients_to_change() -> None:
    target = config()
    update(target, {"type": "realtime", "model": "x"})
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
        vad = {"type": "server_vad", "threshold": threshold}
        vad |= {"prefix_padding_ms": 0, "silence_duration_ms": 0, "idle_timeout_ms": 5000}
        update(target, {"type": "realtime", "audio": {"input": {"turn_detection": vad}}})
        assert target.turns == TurnSettings(threshold, 0, 0, idle_timeout_ms=5000)


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


def test_noise_reduction_keeps_its_strength() -> None:
    target = config()

    def reduced(value: Any) -> Any:
        audio = {"input": {"noise_reduction": value}}
        update(target, {"type": "realtime", "audio": audio})
        return target.shown()["audio"]["input"]["noise_reduction"]

    assert reduced({"type": "near_field"}) == {"type": "near_field", "strength": 1.0}
    assert reduced({"strength": 0.5}) == {"type": "near_field", "strength": 0.5}
    assert reduced({"type": "far_field"}) == {"type": "far_field", "strength": 0.5}
    assert reduced(None) is None
    assert reduced({"type": "far_field"}) == {"type": "far_field", "strength": 1.0}


def test_tracing_is_not_changed_once_it_is_on() -> None:
    target = config()
    for tracing in ("auto", "auto", None, {"group_id": "g"}, {"group_id": "g"}):
        update(target, {"type": "realtime", "tracing": tracing})
        assert target.shown()["tracing"] == tracing
    with pytest.raises(RealtimeError) as refused:
        update(target, {"type": "realtime", "tracing": "auto", "instructions": "no"})
    assert refused.value.param == "session.tracing"
    assert target.shown()["instructions"] == ""


def test_a_voice_of_ones_own_is_shown_by_its_id() -> None:
    target = config()
    update(target, {"type": "realtime", "audio": {"output": {"voice": {"id": "voice_1"}}}})
    assert target.voice == target.shown()["audio"]["output"]["voice"] == "voice_1"


def test_mcp_servers_are_known_by_their_labels() -> None:
    target = config()
    assert target.mcp_servers == []
    servers = [
        {"type": "mcp", "server_label": label, "server_url": "https://mcp.example"}
        for label in ("a", "b")
    ]
    update(target, {"type": "realtime", "tools": [*servers, {"type": "function", "name": "f"}]})
    assert target.mcp_servers == ["a", "b"]


def test_a_transcription_session_has_an_input_alone() -> None:
    target = config("transcription")
    assert target.transcribes
    assert target.mcp_servers == []
    audio = {"input": {"format": {"type": "audio/pcma"}, "turn_detection": None}}
    update(target, {"type": "transcription", "audio": audio})
    assert target.turns is None
    assert target.input_format == PCMA
    assert set(target.shown()["audio"]) == {"input"}


INPUT, VAD = "session.audio.input", "session.audio.input.turn_detection"


@pytest.mark.parametrize(
    ("session", "param"),
    [
        ({}, "session.type"),
        ({"type": "realtime", "tomorrow": 1}, "session.tomorrow"),
        ({"type": "realtime", "output_modalities": ["text", "audio"]}, "session.output_modalities"),
        ({"type": "realtime", "audio": {"input": {"format": None}}}, f"{INPUT}.format"),
        (
            {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "cosmic_vad"}}}},
            f"{VAD}.type",
        ),
        (
            {
                "type": "realtime",
                "audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 1.1}}},
            },
            f"{VAD}.threshold",
        ),
    ],
)
def test_a_wrong_field_is_named_and_nothing_changes(session: Any, param: str) -> None:
    target = config()
    before = deepcopy((target.shown(), target.turns, target.input_format, target.output_format))
    with pytest.raises(RealtimeError) as refused:
        update(target, session | {"instructions": "must not arrive"})
    assert refused.value.param == param
    assert before == (target.shown(), target.turns, target.input_format, target.output_format)
