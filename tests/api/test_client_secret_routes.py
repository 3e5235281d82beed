"""Client secrets and their beta shapes."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.api.site import MODEL, Site, serving

pytestmark = pytest.mark.loop

SECRETS = "/v1/realtime/client_secrets"
SESSIONS = "/v1/realtime/sessions"
TRANSCRIPTIONS = "/v1/realtime/transcription_sessions"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as site:
        yield site


@pytest.mark.parametrize("options", [{}, {"json": {}}, {"json": {"expires_after": None}}])
async def test_a_secret_by_default(site: Site, options: Any) -> None:
    answer = await site.ask("POST", SECRETS, **options)
    assert answer.status == 200
    made = answer.json
    assert set(made) == {"value", "expires_at", "session"}
    assert made["value"].startswith("ek_")
    assert abs(made["expires_at"] - (time.time() + 600)) < 60
    session = made["session"]
    assert session["id"].startswith("sess_")
    assert (session["object"], session["type"]) == ("realtime.session", "realtime")
    assert (session["model"], session["expires_at"]) == (MODEL, 0)
    assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert site.store.find(made["value"]) == {"type": "realtime"}


async def test_the_config_lies_in_the_secret_and_its_effect_in_the_answer(site: Site) -> None:
    config = {"type": "realtime", "model": "other", "audio": {"output": {"voice": "ash"}}}
    order = {"expires_after": {"anchor": "created_at", "seconds": 10}, "session": config}
    made = (await site.ask("POST", SECRETS, json=order)).json
    assert abs(made["expires_at"] - (time.time() + 10)) < 9
    assert made["session"]["model"] == "other"
    assert made["session"]["audio"]["output"]["voice"] == "ash"
    assert made["session"]["output_modalities"] == ["audio"]
    assert site.store.find(made["value"]) == config
    site.clock.now += 10
    assert site.store.find(made["value"]) is None


async def test_a_transcription_secret(site: Site) -> None:
    made = (await site.ask("POST", SECRETS, json={"session": {"type": "transcription"}})).json
    assert made["session"]["object"] == "realtime.transcription_session"
    assert "output" not in made["session"]["audio"]


@pytest.mark.parametrize(
    ("order", "param"),
    [
        ({"expires_after": {"anchor": "created_at", "seconds": 9}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "created_at", "seconds": 7201}}, "expires_after.seconds"),
        ({"expires_after": {"seconds": "600"}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "now", "seconds": 60}}, "expires_after.anchor"),
        ({"expires_after": 600}, "expires_after"),
        ({"session": {}}, "session.type"),
        ({"session": None}, "session"),
        ({"session": {"type": "translation"}}, "session.type"),
        (
            {"session": {"type": "realtime", "audio": {"output": {"speed": 9}}}},
            "session.audio.output.speed",
        ),
        ({"model": "x"}, "model"),
    ],
)
async def test_a_wrong_order_makes_no_secret(site: Site, order: Any, param: str) -> None:
    answer = await site.ask("POST", SECRETS, json=order)
    assert answer.status == 400
    assert answer.error["param"] == param
    assert len(site.store._sessions) == 0


async def test_a_beta_session(site: Site) -> None:
    flat = {
        "model": "older",
        "modalities": ["audio", "text"],
        "voice": "ash",
        "input_audio_format": "g711_ulaw",
        "temperature": 0.7,
        "client_secret": {"expires_after": {"anchor": "created_at", "seconds": 30}},
    }
    answer = await site.ask("POST", SESSIONS, json=flat, headers={"openai-beta": "assistants=v2"})
    made = answer.json
    assert made["object"] == "realtime.session"
    assert made["id"].startswith("sess_")
    assert (made["model"], made["voice"], made["temperature"]) == ("older", "ash", 0.7)
    assert (made["input_audio_format"], made["output_audio_format"]) == ("g711_ulaw", "pcm16")
    secret = made["client_secret"]
    assert set(secret) == {"value", "expires_at"}
    kept = site.store.find(secret["value"])
    assert kept is not None
    assert (kept["type"], kept["model"]) == ("realtime", "older")
    assert kept["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    site.clock.now += 30
    assert site.store.find(secret["value"]) is None


async def test_a_beta_transcription_session(site: Site) -> None:
    flat = {
        "input_audio_transcription": {"model": "whisper-1", "language": "en"},
        "client_secret": {"expires_at": {"anchor": "created_at", "seconds": 30}},
    }
    made = (await site.ask("POST", TRANSCRIPTIONS, json=flat)).json
    assert made["object"] == "realtime.transcription_session"
    assert made["input_audio_transcription"]["model"] == "whisper-1"
    kept = site.store.find(made["client_secret"]["value"])
    assert kept is not None
    assert kept["type"] == "transcription"
    site.clock.now += 30
    assert site.store.find(made["client_secret"]["value"]) is None


@pytest.mark.parametrize("path", [SESSIONS, TRANSCRIPTIONS])
async def test_beta_bodies_may_be_missing_and_may_be_wrong(site: Site, path: str) -> None:
    assert (await site.ask("POST", path)).json["client_secret"]["value"].startswith("ek_")
    assert len(site.store._sessions) == 1
    expiry = "expires_after" if path == SESSIONS else "expires_at"
    for wrong, param in (
        ({"type": "realtime"}, "type"),
        ({"modalities": ["smell"]}, "modalities[0]"),
        ({"client_secret": {expiry: {"seconds": 9}}}, f"client_secret.{expiry}.seconds"),
    ):
        answer = await site.ask("POST", path, json=wrong)
        assert answer.status == 400
        assert answer.error["param"] == param
    assert len(site.store._sessions) == 1


async def test_a_full_store_is_a_429_that_is_not_repeated() -> None:
    async with serving(secrets=1) as site:
        assert (await site.ask("POST", SECRETS)).status == 200
        for path in (SECRETS, SESSIONS, TRANSCRIPTIONS):
            answer = await site.ask("POST", path)
            assert answer.status == 429
            assert answer.error["code"] == "rate_limit_exceeded"
            assert answer.headers["x-should-retry"] == "false"
