"""From the environment to the servers that are dialled."""

import os
from pathlib import Path

import pytest

from gateway.audio.formats import PCM24K, PCMA, PCMU, AudioFormat
from gateway.backends import fallback_backend, first_backend
from gateway.realtime.dialects import DialectOptions
from gateway.settings import PREFIX, Settings
from gateway.upstream.presets import PRESETS
from gateway.upstream.target import BackendConfig

pytestmark = pytest.mark.pure

KEYS = {"REALTIME_API_KEY": "key-1", "REALTIME_FALLBACK_API_KEY": "key-2"}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def settings(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(PREFIX + name, value)
    return Settings.load()


def fallback(monkeypatch: pytest.MonkeyPatch, **variables: str) -> BackendConfig:
    config = fallback_backend(settings(monkeypatch, **variables))
    assert config is not None
    return config


def test_nothing_set_is_the_embedded_agent() -> None:
    loaded = Settings.load()
    assert not loaded.has_server
    assert first_backend(loaded, "ws://127.0.0.1:1/") == BackendConfig("ws://127.0.0.1:1/")
    assert fallback_backend(loaded) is None


def test_a_url_alone_is_bearer_and_ga(monkeypatch: pytest.MonkeyPatch) -> None:
    config = first_backend(settings(monkeypatch, REALTIME_URL="ws://h/", REALTIME_API_KEY="k"))
    assert config == BackendConfig("ws://h/", api_key="k")
    assert (config.auth, config.dialect) == ("bearer", DialectOptions())


def test_every_knob(monkeypatch: pytest.MonkeyPatch) -> None:
    config = first_backend(
        settings(
            monkeypatch,
            REALTIME_URL="ws://h/?m={model}",
            REALTIME_API_KEY="k",
            REALTIME_AUTH="header:x-key",
            REALTIME_HEADERS="X-A: 1, X-B: 2",
            REALTIME_MODEL="a-model",
            REALTIME_DIALECT="ga",
            REALTIME_SESSION_SHAPE="flat",
            REALTIME_DROP_EVENTS="ping, x.y",
            REALTIME_OMIT="audio.input.format",
            REALTIME_TRUNCATE="skip",
            REALTIME_INPUT_FORMAT="pcm@16000",
            REALTIME_OUTPUT_FORMAT="pcma",
            REALTIME_CONFIRM="skip",
            REALTIME_INTERRUPT="cancel",
            REALTIME_SESSION_LIMIT_S="90",
            REALTIME_CONNECT_TIMEOUT_S="3",
        )
    )
    assert config == BackendConfig(
        url="ws://h/?m={model}",
        api_key="k",
        auth="header:x-key",
        headers=(("X-A", "1"), ("X-B", "2")),
        default_model="a-model",
        dialect=DialectOptions(
            "ga", "flat", frozenset({"ping", "x.y"}), "skip", frozenset({"audio.input.format"})
        ),
        input_format=AudioFormat("pcm16", 16_000),
        output_format=PCMA,
        confirms=False,
        interrupt="cancel",
        session_limit_s=90,
        connect_timeout_s=3,
    )


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_fills_in_all_that_is_open(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    preset = PRESETS[name]
    url = {} if preset.url else {"REALTIME_URL": preset.shape}
    config = first_backend(settings(monkeypatch, REALTIME_PRESET=name, REALTIME_API_KEY="k", **url))
    known = preset.config
    assert config.url == (preset.url or preset.shape)
    assert config.default_model == (known.default_model or "gpt-realtime")
    for knob in BackendConfig.__slots__:
        if knob not in ("url", "api_key", "default_model"):
            assert getattr(config, knob) == getattr(known, knob), knob


def test_what_is_set_wins_over_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    config = first_backend(
        settings(
            monkeypatch,
            REALTIME_PRESET="qwen",
            REALTIME_URL="wss://workspace.example/?model={model}",
            REALTIME_AUTH="bearer",
            REALTIME_MODEL="qwen3.8-omni-flash-realtime",
            REALTIME_INPUT_FORMAT="leg",
            REALTIME_OUTPUT_FORMAT="pcmu",
            REALTIME_TRUNCATE="send",
            REALTIME_SESSION_LIMIT_S="60",
        )
    )
    assert config.url == "wss://workspace.example/?model={model}"
    assert config.default_model == "qwen3.8-omni-flash-realtime"
    assert (config.input_format, config.output_format) == (None, PCMU)
    assert (config.dialect.name, config.dialect.truncate) == ("qwen", "send")
    assert config.session_limit_s == 60


def test_headers_are_added_to_those_of_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    config = first_backend(
        settings(monkeypatch, REALTIME_PRESET="openai-beta", REALTIME_HEADERS="X-A: 1")
    )
    assert config.headers == (("OpenAI-Beta", "realtime=v1"), ("X-A", "1"))


def test_what_leaves_a_knob_alone_is_the_example_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who copies it and names a preset gets the preset."""
    example = Path(__file__).parents[1] / ".env.example"
    monkeypatch.setenv("GATEWAY_REALTIME_PRESET", "inworld")
    monkeypatch.setenv("GATEWAY_REALTIME_API_KEY", "k")
    assert first_backend(Settings.load(example)) == first_backend(Settings.load(Path("none")))
    assert first_backend(Settings.load(example)).auth == "basic"


# The fallback.


def test_a_second_url_is_spoken_to_like_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    config = fallback(
        monkeypatch,
        REALTIME_PRESET="azure",
        REALTIME_URL="wss://one.example/?model={model}",
        REALTIME_HEADERS="X-Secret: canary",
        REALTIME_MODEL="a-deployment",
        REALTIME_INPUT_FORMAT="pcm@24000",
        REALTIME_FALLBACK_URL="wss://two.example/?model={model}",
        **KEYS,
    )
    assert (config.url, config.api_key) == ("wss://two.example/?model={model}", "key-2")
    assert (config.auth, config.input_format) == ("header:api-key", PCM24K)
    assert (config.default_model, config.only_model) == ("a-deployment", False)
    assert config.headers == ()


def test_a_key_is_for_the_first_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    config = fallback(
        monkeypatch,
        REALTIME_URL="ws://one/",
        REALTIME_API_KEY="canary",
        REALTIME_FALLBACK_URL="ws://two/",
    )
    assert config.api_key == ""


def test_a_fallback_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Knobs of the first are none of its; neither is the model that a session names."""
    config = fallback(
        monkeypatch,
        REALTIME_PRESET="speaches",
        REALTIME_URL="ws://one/?model={model}",
        REALTIME_MODEL="llama",
        REALTIME_TRUNCATE="skip",
        REALTIME_FALLBACK_PRESET="openai",
        **KEYS,
    )
    assert config == BackendConfig(
        PRESETS["openai"].url, api_key="key-2", default_model="gpt-realtime", only_model=True
    )


def test_a_fallback_of_the_same_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    config = fallback(
        monkeypatch, REALTIME_PRESET="openai", REALTIME_FALLBACK_PRESET="openai", **KEYS
    )
    assert not config.only_model


def test_a_fallback_with_a_model_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    config = fallback(
        monkeypatch,
        REALTIME_PRESET="openai",
        REALTIME_FALLBACK_PRESET="localai",
        REALTIME_FALLBACK_URL="ws://two/?model={model}",
        REALTIME_FALLBACK_MODEL="a-pipeline",
        **KEYS,
    )
    assert (config.default_model, config.only_model) == ("a-pipeline", True)
