"""What each preset dials, and the knobs that it turns."""

from dataclasses import replace

import pytest

from gateway.audio.formats import PCM24K, AudioFormat
from gateway.realtime.dialects import DialectOptions
from gateway.upstream.presets import PRESETS
from gateway.upstream.target import check_auth, check_url, has_unknown_placeholder, target_of

pytestmark = pytest.mark.pure

PCM16K = AudioFormat("pcm16", 16_000)
HOSTED = {"openai", "openai-beta", "xai", "inworld", "qwen", "fish"}


@pytest.mark.parametrize(
    ("name", "url", "headers"),
    [
        (
            "openai",
            "wss://api.openai.com/v1/realtime?model=gpt-realtime",
            {"Authorization": "Bearer key"},
        ),
        (
            "openai-beta",
            "wss://api.openai.com/v1/realtime?model=gpt-4o-realtime-preview",
            {"OpenAI-Beta": "realtime=v1", "Authorization": "Bearer key"},
        ),
        (
            "azure",
            "wss://resource.openai.azure.com/openai/v1/realtime?model=gpt-realtime",
            {"api-key": "key"},
        ),
        (
            "azure-beta",
            "wss://resource.openai.azure.com/openai/realtime"
            "?api-version=2025-04-01-preview&deployment=gpt-4o-realtime-preview",
            {"api-key": "key"},
        ),
        (
            "xai",
            "wss://api.x.ai/v1/realtime?model=grok-voice-latest",
            {"Authorization": "Bearer key"},
        ),
        (
            "inworld",
            "wss://api.inworld.ai/api/v1/realtime/session?key=id-1&protocol=realtime",
            {"Authorization": "Basic key"},
        ),
        (
            "qwen",
            "wss://dashscope-intl.aliyuncs.com/api-ws/v1/realtime"
            "?model=qwen3.5-omni-flash-realtime",
            {"Authorization": "Bearer key"},
        ),
        (
            "fish",
            "wss://api.fish.audio/compat/v1/realtime?model=fish-audio/s2.1-pro",
            {"Authorization": "Bearer key"},
        ),
        ("speaches", "ws://host:8000/v1/realtime?model=m", {"Authorization": "Bearer key"}),
        ("localai", "ws://host:8080/v1/realtime?model=m", {"Authorization": "Bearer key"}),
        ("huggingface", "ws://host:8765/v1/realtime", {"Authorization": "Bearer key"}),
    ],
)
def test_what_is_dialled(name: str, url: str, headers: dict[str, str]) -> None:
    preset = PRESETS[name]
    config = replace(preset.config, url=preset.url or preset.shape, api_key="key")
    target = target_of(config, preset.config.default_model or "m", session_id="id-1")
    assert str(target.url) == url
    assert (dict(target.headers), target.protocols) == (headers, ())


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_well_formed(name: str) -> None:
    preset = PRESETS[name]
    assert bool(preset.url) == (not preset.shape) == (name in HOSTED)
    check_url(preset.url or preset.shape)
    assert not has_unknown_placeholder(preset.url or preset.shape)
    check_auth(preset.config.auth)
    assert not preset.config.api_key


@pytest.mark.parametrize("name", ["openai", "openai-beta", "azure", "azure-beta", "xai", "inworld"])
def test_the_audio_of_telephones_passes_through(name: str) -> None:
    config = PRESETS[name].config
    assert (config.input_format, config.output_format) == (None, None)


@pytest.mark.parametrize(
    ("name", "takes", "sends"),
    [
        ("qwen", PCM16K, PCM24K),
        ("fish", PCM24K, PCM24K),
        ("speaches", PCM24K, PCM24K),
        ("localai", PCM24K, PCM24K),
        ("huggingface", PCM16K, PCM16K),
    ],
)
def test_servers_that_know_no_g711(name: str, takes: AudioFormat, sends: AudioFormat) -> None:
    config = PRESETS[name].config
    assert (config.input_format, config.output_format) == (takes, sends)


@pytest.mark.parametrize(
    ("dialect", "names"),
    [
        ("ga", {"openai", "azure", "inworld", "fish", "localai", "huggingface"}),
        ("beta", {"openai-beta", "azure-beta", "speaches"}),
        ("xai", {"xai"}),
        ("qwen", {"qwen"}),
    ],
)
def test_who_speaks_what(dialect: str, names: set[str]) -> None:
    spoken = {name for name, preset in PRESETS.items() if preset.config.dialect.name == dialect}
    assert spoken == names


def test_who_needs_no_translation() -> None:
    plain = {name for name, preset in PRESETS.items() if preset.config.dialect == DialectOptions()}
    assert plain == {"openai", "azure", "inworld"}


def test_who_cannot_forget() -> None:
    skipping = {
        name for name, preset in PRESETS.items() if preset.config.dialect.truncate == "skip"
    }
    assert skipping == {"qwen", "fish", "speaches", "localai", "huggingface"}


def test_what_some_are_not_told_and_do_not_tell() -> None:
    assert PRESETS["speaches"].config.dialect.omit == {
        "input_audio_format",
        "output_audio_format",
        "turn_detection.prefix_padding_ms",
    }
    assert PRESETS["huggingface"].config.dialect.omit == {
        "audio.input.format",
        "audio.output.format",
    }
    silent = {name for name, preset in PRESETS.items() if not preset.config.confirms}
    assert silent == {"huggingface"}


def test_whose_sessions_end_unannounced() -> None:
    limits = {
        name: preset.config.session_limit_s
        for name, preset in PRESETS.items()
        if preset.config.session_limit_s
    }
    assert limits == {"xai": 3600, "qwen": 7200, "speaches": 1800}
