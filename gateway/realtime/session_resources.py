"""What a server shows of a session (GA), every default filled in."""

from typing import Any, Literal, NotRequired, TypedDict

OutputModalities = list[Literal["text", "audio"]]
MaxOutputTokens = int | Literal["inf"]


class PcmFormat(TypedDict):
    type: Literal["audio/pcm"]
    rate: int


class G711Format(TypedDict):
    type: Literal["audio/pcmu", "audio/pcma"]


Format = PcmFormat | G711Format


class NoiseReductionResource(TypedDict):
    type: NotRequired[Literal["near_field", "far_field"]]
    strength: float


class TranscriptionResource(TypedDict):
    model: NotRequired[str]
    language: NotRequired[str | None]
    prompt: NotRequired[str | None]
    languages: NotRequired[list[str]]
    keywords: NotRequired[list[str]]
    delay: NotRequired[Literal["minimal", "low", "medium", "high", "xhigh"]]


class ServerVadResource(TypedDict):
    type: Literal["server_vad"]
    threshold: float
    prefix_padding_ms: int
    silence_duration_ms: int
    create_response: bool
    interrupt_response: bool
    idle_timeout_ms: int | None


class SemanticVadResource(TypedDict):
    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"]
    create_response: bool
    interrupt_response: bool


TurnDetectionResource = ServerVadResource | SemanticVadResource


class AudioInputResource(TypedDict):
    format: Format
    transcription: TranscriptionResource | None
    noise_reduction: NoiseReductionResource | None
    turn_detection: TurnDetectionResource | None


class AudioOutputResource(TypedDict):
    format: Format
    voice: str
    speed: float


class AudioResource(TypedDict):
    input: AudioInputResource
    output: AudioOutputResource


class TranscriptionAudioResource(TypedDict):
    input: AudioInputResource


class FunctionToolResource(TypedDict):
    type: Literal["function"]
    name: str
    description: NotRequired[str]
    parameters: NotRequired[dict[str, Any]]


class ToolFilterResource(TypedDict):
    read_only: NotRequired[bool]
    tool_names: NotRequired[list[str]]


class ApprovalFilterResource(TypedDict):
    always: NotRequired[ToolFilterResource]
    never: NotRequired[ToolFilterResource]


class McpToolResource(TypedDict):
    type: Literal["mcp"]
    server_label: str
    server_url: NotRequired[str]
    connector_id: NotRequired[str]
    tunnel_id: NotRequired[str]
    server_description: NotRequired[str]
    authorization: NotRequired[str]
    headers: NotRequired[dict[str, str] | None]
    allowed_tools: NotRequired[list[str] | ToolFilterResource | None]
    require_approval: NotRequired[Literal["always", "never"] | ApprovalFilterResource | None]
    allowed_callers: NotRequired[list[Literal["direct", "programmatic"]] | None]
    defer_loading: NotRequired[bool]


class FunctionChoiceResource(TypedDict):
    type: Literal["function"]
    name: str


class McpChoiceResource(TypedDict):
    type: Literal["mcp"]
    server_label: str
    name: NotRequired[str | None]


class TokenLimitsResource(TypedDict):
    post_instructions: NotRequired[int]


class RetentionRatioResource(TypedDict):
    type: Literal["retention_ratio"]
    retention_ratio: float
    token_limits: NotRequired[TokenLimitsResource]


class TracingResource(TypedDict):
    workflow_name: NotRequired[str]
    group_id: NotRequired[str]
    metadata: NotRequired[dict[str, Any]]


class PromptResource(TypedDict):
    id: str
    version: NotRequired[str | None]
    variables: NotRequired[dict[str, str | dict[str, Any]] | None]


class ReasoningResource(TypedDict):
    effort: Literal["minimal", "low", "medium", "high", "xhigh"]


IncludeResource = list[Literal["item.input_audio_transcription.logprobs"]]


class RealtimeSessionResource(TypedDict):
    type: Literal["realtime"]
    object: Literal["realtime.session"]
    id: str
    expires_at: int
    model: str
    output_modalities: OutputModalities
    instructions: str
    audio: AudioResource
    tools: list[FunctionToolResource | McpToolResource]
    tool_choice: Literal["none", "auto", "required"] | FunctionChoiceResource | McpChoiceResource
    parallel_tool_calls: NotRequired[bool]
    reasoning: NotRequired[ReasoningResource]
    max_output_tokens: MaxOutputTokens
    truncation: Literal["auto", "disabled"] | RetentionRatioResource
    tracing: Literal["auto"] | TracingResource | None
    prompt: PromptResource | None
    include: IncludeResource | None


class TranscriptionSessionResource(TypedDict):
    type: Literal["transcription"]
    object: Literal["realtime.transcription_session"]
    id: str
    expires_at: int
    audio: TranscriptionAudioResource
    include: IncludeResource | None
