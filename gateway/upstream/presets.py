"""What is known of Realtime servers by name: where they are, and what each does in its own way.

A preset fills in what the settings leave open, and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.audio.formats import PCM24K, AudioFormat
from gateway.realtime.dialects import DialectOptions
from gateway.upstream.target import BackendConfig

_PCM16K: Final = AudioFormat("pcm16", 16_000)
_BETA_HEADER: Final = (("OpenAI-Beta", "realtime=v1"),)
_CANNOT_TRUNCATE: Final = DialectOptions(truncate="skip")


@dataclass(frozen=True, slots=True)
class Preset:
    """One kind of server."""

    config: BackendConfig
    """Without a key. The URL is empty for what everybody hosts, or has a resource of, at an address
    of their own; the model is empty where only its owner knows one."""
    shape: str = ""
    """What such an address looks like."""

    @property
    def url(self) -> str:
        return self.config.url


PRESETS: Final[Mapping[str, Preset]] = {
    "openai": Preset(BackendConfig("wss://api.openai.com/v1/realtime?model={model}")),
    "openai-beta": Preset(
        BackendConfig(
            "wss://api.openai.com/v1/realtime?model={model}",
            headers=_BETA_HEADER,
            default_model="gpt-4o-realtime-preview",
            dialect=DialectOptions("beta"),
        )
    ),
    "azure": Preset(  # its models are deployments, which have names of their own
        BackendConfig("", auth="header:api-key"),
        "wss://RESOURCE.openai.azure.com/openai/v1/realtime?model={model}",
    ),
    "azure-beta": Preset(
        BackendConfig(
            "",
            auth="header:api-key",
            default_model="gpt-4o-realtime-preview",
            dialect=DialectOptions("beta"),
        ),
        "wss://RESOURCE.openai.azure.com/openai/realtime"
        "?api-version=2025-04-01-preview&deployment={model}",
    ),
    "xai": Preset(
        BackendConfig(
            "wss://api.x.ai/v1/realtime?model={model}",
            default_model="grok-voice-latest",
            dialect=DialectOptions("xai"),
            session_limit_s=3600,
        )
    ),
    "inworld": Preset(  # a session may name the model; else it is the server's choice
        BackendConfig(
            "wss://api.inworld.ai/api/v1/realtime/session?key={session}&protocol=realtime",
            auth="basic",
            default_model="",
        )
    ),
    "qwen": Preset(
        BackendConfig(
            "wss://dashscope-intl.aliyuncs.com/api-ws/v1/realtime?model={model}",
            default_model="qwen3.5-omni-flash-realtime",
            dialect=DialectOptions("qwen", truncate="skip"),
            input_format=_PCM16K,
            output_format=PCM24K,
            session_limit_s=7200,
        )
    ),
    "fish": Preset(
        BackendConfig(
            "wss://api.fish.audio/compat/v1/realtime?model={model}",
            default_model="fish-audio/s2.1-pro",
            dialect=_CANNOT_TRUNCATE,
            input_format=PCM24K,
            output_format=PCM24K,
        )
    ),
    "speaches": Preset(  # its releases cannot truncate yet
        BackendConfig(
            "",
            default_model="",
            dialect=DialectOptions(
                "beta",
                truncate="skip",
                drop_events=frozenset({"input_audio_buffer.partial_transcription"}),
                omit=frozenset(
                    {
                        "input_audio_format",
                        "output_audio_format",
                        "turn_detection.prefix_padding_ms",
                    }
                ),
            ),
            input_format=PCM24K,
            output_format=PCM24K,
            session_limit_s=1800,
        ),
        "ws://HOST:8000/v1/realtime?model={model}",
    ),
    "localai": Preset(
        BackendConfig(
            "",
            default_model="",
            dialect=_CANNOT_TRUNCATE,
            input_format=PCM24K,
            output_format=PCM24K,
        ),
        "ws://HOST:8080/v1/realtime?model={model}",
    ),
    "huggingface": Preset(  # speech-to-speech: one rate inside, and no answer to session.update
        BackendConfig(
            "",
            default_model="",
            dialect=DialectOptions(
                truncate="skip", omit=frozenset({"audio.input.format", "audio.output.format"})
            ),
            input_format=_PCM16K,
            output_format=_PCM16K,
            confirms=False,
        ),
        "ws://HOST:8765/v1/realtime",
    ),
}
