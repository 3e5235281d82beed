"""The session configs of the protocol (GA) as models, field by field.

What the official types leave open stays open: models, voices, languages, the schemas of tools.
Where they name ranges only in words, the words count. `type` stands first in each model, because a
missing one is what explains everything else that does not fit.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, Tag

from gateway.realtime.validation import (
    ABSENT,
    ARRAY,
    NUMBER,
    OBJECT,
    STRING,
    Array,
    Model,
    by_kind,
    by_type,
    tag,
    wrong_combination,
)

MAX_OUTPUT_TOKENS: Final = 4096

Name = Annotated[str, Field(min_length=1)]
Milliseconds = Annotated[int, Field(ge=0)]
NoiseReductionType = Literal["near_field", "far_field"]
Include = Array[Literal["item.input_audio_transcription.logprobs"]]
MaxOutputTokens = Annotated[
    Annotated[Annotated[int, Field(ge=1, le=MAX_OUTPUT_TOKENS)], Tag(NUMBER)]
    | Annotated[Literal["inf"], Tag(STRING)],
    by_kind("one of an integer or 'inf'"),
]
Speed = Annotated[float, Field(ge=0.25, le=1.5)]


def _audio_or_text(modalities: list[str]) -> list[str]:
    if modalities not in (["audio"], ["text"]):
        raise wrong_combination("['text'] and ['audio']")
    return modalities


OutputModalities = Annotated[Array[Literal["text", "audio"]], AfterValidator(_audio_or_text)]


class Pcm(Model):
    type: Literal["audio/pcm"]
    rate: Annotated[int, Field(ge=24_000, le=24_000)] = ABSENT


class G711(Model):
    type: Literal["audio/pcmu", "audio/pcma"]


Format = Annotated[
    Annotated[Pcm, Tag(tag("audio/pcm"))]
    | Annotated[G711, Tag(tag("audio/pcmu"))]
    | Annotated[G711, Tag(tag("audio/pcma"))],
    by_type("audio/pcm", "audio/pcmu", "audio/pcma"),
]


class NoiseReduction(Model):
    type: NoiseReductionType = ABSENT
    strength: Annotated[float, Field(ge=0)] = ABSENT


class Transcription(Model):
    model: Name = ABSENT
    language: str = ABSENT
    prompt: str = ABSENT
    languages: Annotated[Array[Name], Field(min_length=1)] = ABSENT
    keywords: Array[str] = ABSENT
    delay: Literal["minimal", "low", "medium", "high", "xhigh"] = ABSENT


class ServerVad(Model):
    type: Literal["server_vad"] = ABSENT
    threshold: Annotated[float, Field(ge=0, le=1)] = ABSENT
    prefix_padding_ms: Milliseconds = ABSENT
    silence_duration_ms: Milliseconds = ABSENT
    create_response: bool = ABSENT
    interrupt_response: bool = ABSENT
    idle_timeout_ms: Annotated[int, Field(ge=5000, le=30_000)] | None = None
    model_version: str = ABSENT
    """Not in the protocol; `@openai/agents-realtime` has it in its own config and sends it."""


class SemanticVad(Model):
    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] = ABSENT
    create_response: bool = ABSENT
    interrupt_response: bool = ABSENT
    model_version: str = ABSENT


_TurnDetection = (
    Annotated[ServerVad, Tag(tag("server_vad"))] | Annotated[SemanticVad, Tag(tag("semantic_vad"))]
)
TurnDetection = Annotated[_TurnDetection, by_type("server_vad", "semantic_vad")]
BetaTurnDetection = Annotated[
    _TurnDetection, by_type("server_vad", "semantic_vad", default="server_vad")
]


class FunctionTool(Model):
    type: Literal["function"]
    name: Name
    description: str = ABSENT
    parameters: dict[str, Any] = ABSENT


class ToolFilter(Model):
    read_only: bool = ABSENT
    tool_names: Array[str] = ABSENT


class ApprovalFilter(Model):
    always: ToolFilter = ABSENT
    never: ToolFilter = ABSENT


class McpTool(Model):
    """Which of `server_url`, `connector_id` and `tunnel_id` must be there depends on what the
    session knows of the server already, so it is left to the backend."""

    type: Literal["mcp"]
    server_label: Name
    server_url: Name = ABSENT
    connector_id: Name = ABSENT
    tunnel_id: Name = ABSENT
    server_description: str = ABSENT
    authorization: str = ABSENT
    headers: dict[str, str] | None = None
    allowed_tools: (
        Annotated[
            Annotated[Array[str], Tag(ARRAY)] | Annotated[ToolFilter, Tag(OBJECT)],
            by_kind("one of an array of strings or an object"),
        ]
        | None
    ) = None
    require_approval: (
        Annotated[
            Annotated[Literal["always", "never"], Tag(STRING)]
            | Annotated[ApprovalFilter, Tag(OBJECT)],
            by_kind("one of a string or an object"),
        ]
        | None
    ) = None
    allowed_callers: Array[Literal["direct", "programmatic"]] | None = None
    defer_loading: bool = ABSENT


Tool = Annotated[
    Annotated[FunctionTool, Tag(tag("function"))] | Annotated[McpTool, Tag(tag("mcp"))],
    by_type("function", "mcp"),
]


class FunctionChoice(Model):
    type: Literal["function"]
    name: Name


class McpChoice(Model):
    type: Literal["mcp"]
    server_label: Name
    name: str | None = None


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag(STRING)]
    | Annotated[
        Annotated[
            Annotated[FunctionChoice, Tag(tag("function"))] | Annotated[McpChoice, Tag(tag("mcp"))],
            by_type("function", "mcp"),
        ],
        Tag(OBJECT),
    ],
    by_kind("one of a string or an object"),
]


class TokenLimits(Model):
    post_instructions: Annotated[int, Field(ge=0)] = ABSENT


class RetentionRatio(Model):
    type: Literal["retention_ratio"]
    retention_ratio: Annotated[float, Field(ge=0, le=1)]
    token_limits: TokenLimits = ABSENT


Truncation = Annotated[
    Annotated[Literal["auto", "disabled"], Tag(STRING)] | Annotated[RetentionRatio, Tag(OBJECT)],
    by_kind("one of a string or an object"),
]


class TracingConfig(Model):
    workflow_name: str = ABSENT
    group_id: str = ABSENT
    metadata: dict[str, Any] = ABSENT


Tracing = Annotated[
    Annotated[Literal["auto"], Tag(STRING)] | Annotated[TracingConfig, Tag(OBJECT)],
    by_kind("one of a string or an object"),
]


class Prompt(Model):
    id: Name
    version: str | None = None
    variables: (
        dict[
            str,
            Annotated[
                Annotated[str, Tag(STRING)] | Annotated[dict[str, Any], Tag(OBJECT)],
                by_kind("one of a string or an object"),
            ],
        ]
        | None
    ) = None


class Reasoning(Model):
    effort: Literal["minimal", "low", "medium", "high", "xhigh"] = ABSENT


class VoiceId(Model):
    id: Name


Voice = Annotated[
    Annotated[Name, Tag(STRING)] | Annotated[VoiceId, Tag(OBJECT)],
    by_kind("one of a string or an object"),
]


class AudioInput(Model):
    format: Format = ABSENT
    noise_reduction: NoiseReduction | None = None
    transcription: Transcription | None = None
    turn_detection: TurnDetection | None = None


class AudioOutput(Model):
    format: Format = ABSENT
    voice: Voice = ABSENT
    speed: Speed = ABSENT


class Audio(Model):
    input: AudioInput = ABSENT
    output: AudioOutput = ABSENT


class TranscriptionAudio(Model):
    input: AudioInput = ABSENT


class RealtimeSession(Model):
    type: Literal["realtime"]
    model: Name = ABSENT
    output_modalities: OutputModalities = ABSENT
    instructions: str = ABSENT
    audio: Audio = ABSENT
    tools: Array[Tool] = ABSENT
    tool_choice: ToolChoice = ABSENT
    parallel_tool_calls: bool = ABSENT
    reasoning: Reasoning = ABSENT
    max_output_tokens: MaxOutputTokens = ABSENT
    truncation: Truncation = ABSENT
    tracing: Tracing | None = None
    prompt: Prompt | None = None
    include: Include | None = None


class TranscriptionSession(Model):
    type: Literal["transcription"]
    audio: TranscriptionAudio = ABSENT
    include: Include | None = None


AnySession = Annotated[
    Annotated[RealtimeSession, Tag(tag("realtime"))]
    | Annotated[TranscriptionSession, Tag(tag("transcription"))],
    by_type("realtime", "transcription"),
]
