"""The session config: what passes, and how each wrong field is named."""

from copy import deepcopy
from typing import Any

import pytest

from gateway.realtime.config import check_session, effective_session
from gateway.realtime.errors import RealtimeError

pytestmark = pytest.mark.pure

REALTIME = {"type": "realtime"}
FUNCTION = {"type": "function", "name": "f"}
MCP = {"type": "mcp", "server_label": "s"}
TEXT = {"type": "input_text", "text": "t"}
BOTH = ("realtime", "transcription")


def top(**fields: Any) -> dict[str, Any]:
    return REALTIME | fields


def source(**fields: Any) -> dict[str, Any]:
    return top(audio={"input": fields})


def output(**fields: Any) -> dict[str, Any]:
    return top(audio={"output": fields})


def vad(**fields: Any) -> dict[str, Any]:
    return source(turn_detection={"type": "server_vad"} | fields)


def semantic(**fields: Any) -> dict[str, Any]:
    return source(turn_detection={"type": "semantic_vad"} | fields)


def function(**fields: Any) -> dict[str, Any]:
    return top(tools=[FUNCTION | fields])


def mcp(**fields: Any) -> dict[str, Any]:
    return top(tools=[MCP | fields])


def transcription(**fields: Any) -> dict[str, Any]:
    return source(transcription=fields)


def refusal(value: object, **options: Any) -> RealtimeError:
    with pytest.raises(RealtimeError) as refused:
        check_session(value, **options)
    assert refused.value.status == 400
    assert refused.value.kind == "invalid_request_error"
    return refused.value


GOOD = [
    REALTIME,
    top(model="any-model:of/tomorrow"),
    top(output_modalities=["audio"]),
    top(output_modalities=["text"]),
    top(instructions=""),
    top(audio={}),
    top(audio={"input": {}, "output": {}}),
    *(source(format={"type": kind}) for kind in ("audio/pcm", "audio/pcmu", "audio/pcma")),
    output(format={"type": "audio/pcm", "rate": 24000}),
    source(noise_reduction=None),
    source(noise_reduction={"type": "near_field"}),
    source(noise_reduction={"type": "far_field", "strength": 0}),
    source(noise_reduction={"strength": 0.5}),
    source(transcription=None),
    transcription(),
    transcription(model="whisper-1", language="de", prompt="", languages=["de"], keywords=[]),
    *(transcription(delay=delay) for delay in ("minimal", "low", "medium", "high", "xhigh")),
    source(turn_detection=None),
    vad(),
    vad(threshold=0, prefix_padding_ms=0, silence_duration_ms=0),
    vad(threshold=1, create_response=False, interrupt_response=True),
    vad(idle_timeout_ms=None),
    vad(idle_timeout_ms=5000),
    vad(idle_timeout_ms=30_000, model_version="x"),
    *(semantic(eagerness=eagerness) for eagerness in ("low", "medium", "high", "auto")),
    semantic(create_response=True, interrupt_response=False, model_version="x"),
    output(voice="marin"),
    output(voice="a voice of our own"),
    output(voice={"id": "voice_1234"}),
    *(output(speed=speed) for speed in (0.25, 1, 1.5)),
    top(tools=[]),
    function(),
    function(description="", parameters={"type": "object", "properties": {"a": {}}}),
    mcp(),
    mcp(server_url="https://mcp.example.com", authorization="t", headers={"X-A": "b"}),
    mcp(connector_id="connector_gmail", headers=None, server_description="d"),
    mcp(tunnel_id="t", defer_loading=True),
    mcp(allowed_tools=None, require_approval=None, allowed_callers=None),
    mcp(allowed_tools=["a"], require_approval="never", allowed_callers=["direct"]),
    mcp(allowed_tools={"read_only": True, "tool_names": ["a"]}, require_approval="always"),
    mcp(require_approval={"always": {"tool_names": []}, "never": {"read_only": False}}),
    *(top(tool_choice=choice) for choice in ("none", "auto", "required")),
    top(tool_choice=FUNCTION),
    top(tool_choice=MCP),
    top(tool_choice=MCP | {"name": None}),
    top(parallel_tool_calls=True),
    top(reasoning={}),
    *(
        top(reasoning={"effort": effort})
        for effort in ("minimal", "low", "medium", "high", "xhigh")
    ),
    *(top(max_output_tokens=tokens) for tokens in (1, 4096, "inf")),
    *(top(truncation=truncation) for truncation in ("auto", "disabled")),
    top(truncation={"type": "retention_ratio", "retention_ratio": 0}),
    top(
        truncation={
            "type": "retention_ratio",
            "retention_ratio": 1,
            "token_limits": {"post_instructions": 0},
        }
    ),
    top(tracing=None),
    top(tracing="auto"),
    top(tracing={"workflow_name": "w", "group_id": "g", "metadata": {"a": [1]}}),
    top(prompt=None),
    top(prompt={"id": "p"}),
    top(prompt={"id": "p", "version": None, "variables": None}),
    top(prompt={"id": "p", "version": "2", "variables": {"a": "b", "c": TEXT}}),
    top(include=None),
    top(include=["item.input_audio_transcription.logprobs"]),
]


@pytest.mark.parametrize("config", GOOD, ids=repr)
def test_what_fits_comes_back_as_it_was(config: dict[str, Any]) -> None:
    before = deepcopy(config)
    assert check_session(config) == before
    assert config == before


UNKNOWN, MISSING = "unknown_parameter", "missing_required_parameter"
TYPE, VALUE, EMPTY = "invalid_type", "invalid_value", "empty_string"
IN, OUT = "session.audio.input", "session.audio.output"
VAD, TOOL = f"{IN}.turn_detection", "session.tools[0]"

BAD: list[tuple[object, str, str]] = [
    (None, TYPE, "session"),
    ([], TYPE, "session"),
    ("{}", TYPE, "session"),
    ({}, MISSING, "session.type"),
    ({"modalities": ["text"]}, MISSING, "session.type"),
    ({"type": None}, TYPE, "session.type"),
    ({"type": "transcription"}, VALUE, "session.type"),
    ({"type": "live"}, VALUE, "session.type"),
    (top(temperature=0.8), UNKNOWN, "session.temperature"),
    *((top(**{name: "x"}), UNKNOWN, f"session.{name}") for name in ("id", "object", "voice")),
    (top(expires_at=0), UNKNOWN, "session.expires_at"),
    (top(client_secret=None), UNKNOWN, "session.client_secret"),
    (top(model=""), EMPTY, "session.model"),
    (top(model=None), TYPE, "session.model"),
    (top(output_modalities="audio"), TYPE, "session.output_modalities"),
    (top(output_modalities=[]), VALUE, "session.output_modalities"),
    (top(output_modalities=["audio", "text"]), VALUE, "session.output_modalities"),
    (top(output_modalities=["audio", "audio"]), VALUE, "session.output_modalities"),
    (top(output_modalities=["video"]), VALUE, "session.output_modalities[0]"),
    (top(instructions=5), TYPE, "session.instructions"),
    (top(audio=None), TYPE, "session.audio"),
    (top(audio={"voice": "x"}), UNKNOWN, "session.audio.voice"),
    (top(audio={"input": []}), TYPE, IN),
    (top(audio={"output": None}), TYPE, OUT),
    (source(voice="x"), UNKNOWN, f"{IN}.voice"),
    (source(format="pcm16"), TYPE, f"{IN}.format"),
    (source(format={}), MISSING, f"{IN}.format.type"),
    (output(format={"type": "pcm16"}), VALUE, f"{OUT}.format.type"),
    (output(format={"type": 1}), TYPE, f"{OUT}.format.type"),
    (
        source(format={"type": "audio/pcm", "rate": 8000}),
        "integer_below_min_value",
        f"{IN}.format.rate",
    ),
    (
        source(format={"type": "audio/pcm", "rate": 48000}),
        "integer_above_max_value",
        f"{IN}.format.rate",
    ),
    (source(format={"type": "audio/pcm", "rate": "24000"}), TYPE, f"{IN}.format.rate"),
    (source(format={"type": "audio/pcmu", "rate": 8000}), UNKNOWN, f"{IN}.format.rate"),
    (source(noise_reduction="near_field"), TYPE, f"{IN}.noise_reduction"),
    (source(noise_reduction={"type": "x"}), VALUE, f"{IN}.noise_reduction.type"),
    (
        source(noise_reduction={"strength": -0.1}),
        "decimal_below_min_value",
        f"{IN}.noise_reduction.strength",
    ),
    (source(transcription="whisper-1"), TYPE, f"{IN}.transcription"),
    (transcription(model=""), EMPTY, f"{IN}.transcription.model"),
    (transcription(language=1), TYPE, f"{IN}.transcription.language"),
    (transcription(prompt=None), TYPE, f"{IN}.transcription.prompt"),
    (transcription(languages=[]), "empty_array", f"{IN}.transcription.languages"),
    (transcription(languages=["de", 1]), TYPE, f"{IN}.transcription.languages[1]"),
    (transcription(keywords="a"), TYPE, f"{IN}.transcription.keywords"),
    (transcription(delay="none"), VALUE, f"{IN}.transcription.delay"),
    (transcription(speed=1), UNKNOWN, f"{IN}.transcription.speed"),
    (source(turn_detection="server_vad"), TYPE, VAD),
    (source(turn_detection={}), MISSING, f"{VAD}.type"),
    (source(turn_detection={"type": "none"}), VALUE, f"{VAD}.type"),
    (source(turn_detection={"type": None}), TYPE, f"{VAD}.type"),
    (vad(threshold=1.01), "decimal_above_max_value", f"{VAD}.threshold"),
    (vad(threshold=-0.01), "decimal_below_min_value", f"{VAD}.threshold"),
    (vad(threshold="0.5"), TYPE, f"{VAD}.threshold"),
    (vad(threshold=True), TYPE, f"{VAD}.threshold"),
    (vad(threshold=float("nan")), VALUE, f"{VAD}.threshold"),
    (vad(threshold=float("inf")), VALUE, f"{VAD}.threshold"),
    (vad(prefix_padding_ms=-1), "integer_below_min_value", f"{VAD}.prefix_padding_ms"),
    (vad(prefix_padding_ms=0.5), TYPE, f"{VAD}.prefix_padding_ms"),
    (vad(silence_duration_ms=-1), "integer_below_min_value", f"{VAD}.silence_duration_ms"),
    (vad(silence_duration_ms=True), TYPE, f"{VAD}.silence_duration_ms"),
    (vad(create_response=None), TYPE, f"{VAD}.create_response"),
    (vad(interrupt_response="true"), TYPE, f"{VAD}.interrupt_response"),
    (vad(idle_timeout_ms=4999), "integer_below_min_value", f"{VAD}.idle_timeout_ms"),
    (vad(idle_timeout_ms=30_001), "integer_above_max_value", f"{VAD}.idle_timeout_ms"),
    (vad(eagerness="low"), UNKNOWN, f"{VAD}.eagerness"),
    (vad(server_vad=1), UNKNOWN, f"{VAD}.server_vad"),
    (semantic(eagerness="max"), VALUE, f"{VAD}.eagerness"),
    (semantic(create_response=1), TYPE, f"{VAD}.create_response"),
    (semantic(interrupt_response=0), TYPE, f"{VAD}.interrupt_response"),
    *(
        (semantic(**{name: None}), UNKNOWN, f"{VAD}.{name}")
        for name in (
            "threshold",
            "prefix_padding_ms",
            "silence_duration_ms",
            "idle_timeout_ms",
        )
    ),
    (output(voice=""), EMPTY, f"{OUT}.voice"),
    (output(voice=None), TYPE, f"{OUT}.voice"),
    (output(voice={}), MISSING, f"{OUT}.voice.id"),
    (output(voice={"id": "v", "name": "n"}), UNKNOWN, f"{OUT}.voice.name"),
    (output(speed=0.24), "decimal_below_min_value", f"{OUT}.speed"),
    (output(speed=2), "decimal_above_max_value", f"{OUT}.speed"),
    (output(speed=10**300), "decimal_above_max_value", f"{OUT}.speed"),
    (output(speed=10**400), VALUE, f"{OUT}.speed"),
    (output(speed=None), TYPE, f"{OUT}.speed"),
    (output(transcription={}), UNKNOWN, f"{OUT}.transcription"),
    (top(tools=None), TYPE, "session.tools"),
    (top(tools={}), TYPE, "session.tools"),
    (top(tools=[FUNCTION, 1]), TYPE, "session.tools[1]"),
    (top(tools=[{"name": "f"}]), MISSING, f"{TOOL}.type"),
    (top(tools=[{"type": "web_search"}]), VALUE, f"{TOOL}.type"),
    (top(tools=[{"type": "function", "function": {"name": "f"}}]), MISSING, f"{TOOL}.name"),
    (function(name=""), EMPTY, f"{TOOL}.name"),
    (function(description=None), TYPE, f"{TOOL}.description"),
    (function(parameters=[]), TYPE, f"{TOOL}.parameters"),
    (function(strict=True), UNKNOWN, f"{TOOL}.strict"),
    (top(tools=[{"type": "mcp"}]), MISSING, f"{TOOL}.server_label"),
    (mcp(server_url=""), EMPTY, f"{TOOL}.server_url"),
    (mcp(connector_id=5), TYPE, f"{TOOL}.connector_id"),
    (mcp(tunnel_id=None), TYPE, f"{TOOL}.tunnel_id"),
    (mcp(authorization=5), TYPE, f"{TOOL}.authorization"),
    (mcp(server_description=5), TYPE, f"{TOOL}.server_description"),
    (mcp(headers={"A": 1}), TYPE, f"{TOOL}.headers.A"),
    (mcp(headers=[]), TYPE, f"{TOOL}.headers"),
    (mcp(allowed_tools="a"), TYPE, f"{TOOL}.allowed_tools"),
    (mcp(allowed_tools=["a", None]), TYPE, f"{TOOL}.allowed_tools[1]"),
    (mcp(allowed_tools={"names": []}), UNKNOWN, f"{TOOL}.allowed_tools.names"),
    (mcp(require_approval="maybe"), VALUE, f"{TOOL}.require_approval"),
    (mcp(require_approval=True), TYPE, f"{TOOL}.require_approval"),
    (
        mcp(require_approval={"always": {"tool_names": "a"}}),
        TYPE,
        f"{TOOL}.require_approval.always.tool_names",
    ),
    (mcp(allowed_callers=["x"]), VALUE, f"{TOOL}.allowed_callers[0]"),
    (mcp(defer_loading="no"), TYPE, f"{TOOL}.defer_loading"),
    (mcp(name="f"), UNKNOWN, f"{TOOL}.name"),
    (top(tool_choice="always"), VALUE, "session.tool_choice"),
    (top(tool_choice=None), TYPE, "session.tool_choice"),
    (top(tool_choice={}), MISSING, "session.tool_choice.type"),
    (top(tool_choice={"type": "function"}), MISSING, "session.tool_choice.name"),
    (top(tool_choice={"type": "mcp"}), MISSING, "session.tool_choice.server_label"),
    (top(tool_choice={"type": "custom"}), VALUE, "session.tool_choice.type"),
    (top(parallel_tool_calls="yes"), TYPE, "session.parallel_tool_calls"),
    (top(reasoning="low"), TYPE, "session.reasoning"),
    (top(reasoning={"effort": "none"}), VALUE, "session.reasoning.effort"),
    (top(max_output_tokens=0), "integer_below_min_value", "session.max_output_tokens"),
    (top(max_output_tokens=4097), "integer_above_max_value", "session.max_output_tokens"),
    (top(max_output_tokens=10**200), "integer_above_max_value", "session.max_output_tokens"),
    (top(max_output_tokens="4096"), VALUE, "session.max_output_tokens"),
    (top(max_output_tokens=1.5), TYPE, "session.max_output_tokens"),
    (top(max_output_tokens=True), TYPE, "session.max_output_tokens"),
    (top(truncation="never"), VALUE, "session.truncation"),
    (top(truncation=None), TYPE, "session.truncation"),
    (top(truncation={"retention_ratio": 1}), MISSING, "session.truncation.type"),
    (
        top(truncation={"type": "retention_ratio"}),
        MISSING,
        "session.truncation.retention_ratio",
    ),
    (
        top(truncation={"type": "retention_ratio", "retention_ratio": 1.1}),
        "decimal_above_max_value",
        "session.truncation.retention_ratio",
    ),
    (
        top(
            truncation={
                "type": "retention_ratio",
                "retention_ratio": 1,
                "token_limits": {"post_instructions": -1},
            }
        ),
        "integer_below_min_value",
        "session.truncation.token_limits.post_instructions",
    ),
    (top(tracing="on"), VALUE, "session.tracing"),
    (top(tracing=True), TYPE, "session.tracing"),
    (top(tracing={"workflow_name": 1}), TYPE, "session.tracing.workflow_name"),
    (top(tracing={"group_id": 1}), TYPE, "session.tracing.group_id"),
    (top(tracing={"metadata": "x"}), TYPE, "session.tracing.metadata"),
    (top(prompt="p"), TYPE, "session.prompt"),
    (top(prompt={}), MISSING, "session.prompt.id"),
    (top(prompt={"id": "p", "version": 2}), TYPE, "session.prompt.version"),
    (top(prompt={"id": "p", "variables": {"a": 1}}), TYPE, "session.prompt.variables.a"),
    (top(include="x"), TYPE, "session.include"),
    (top(include=["x"]), VALUE, "session.include[0]"),
    # What a JSON reader lets in and nobody else can read.
    (top(instructions="\ud800"), VALUE, "session.instructions"),
    (top(**{"\udfff": 1}), VALUE, "session"),
    (function(parameters={"a": [1, float("inf")]}), VALUE, f"{TOOL}.parameters.a[1]"),
    (function(parameters={"a": -(10**400)}), VALUE, f"{TOOL}.parameters.a"),
    (top(instructions=b"bytes"), VALUE, "session.instructions"),
    (top(**{"a\r\nb": 1}), UNKNOWN, r"session.a\r\nb"),
    (top(**{"k" * 100_000: 1}), UNKNOWN, "session." + "k" * 64 + "..."),
]


@pytest.mark.parametrize(("config", "code", "param"), BAD, ids=lambda value: repr(value)[:70])
def test_what_does_not_fit_is_named(config: object, code: str, param: str) -> None:
    error = refusal(config)
    assert (error.code, error.param) == (code, param)
    assert len(error.message) < 400


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "Missing required parameter: 'session.type'."),
        (top(foo=1), "Unknown parameter: 'session.foo'."),
        (
            top(instructions=5),
            "Invalid type for 'session.instructions': expected a string, "
            "but got an integer instead.",
        ),
        (
            top(tool_choice=1.5),
            "Invalid type for 'session.tool_choice': expected one of a string or an object, "
            "but got a decimal instead.",
        ),
        (
            top(tool_choice="x"),
            "Invalid value: 'x'. Supported values are: 'none', 'auto', and 'required'.",
        ),
        (top(truncation="x"), "Invalid value: 'x'. Supported values are: 'auto' and 'disabled'."),
        (top(tracing="x"), "Invalid value: 'x'. Value must be 'auto'."),
        (
            source(format={"type": "audio/pcm", "rate": 8000}),
            "Invalid 'session.audio.input.format.rate': integer below minimum value. "
            "Expected a value >= 24000, but got 8000 instead.",
        ),
        (
            top(output_modalities=["text", "audio"]),
            "Invalid modalities: ['text', 'audio']. Supported combinations are: "
            "['text'] and ['audio'].",
        ),
        (
            output(speed=2),
            "Invalid 'session.audio.output.speed': decimal above maximum value. "
            "Expected a value <= 1.5, but got 2 instead.",
        ),
        (
            top(max_output_tokens=0),
            "Invalid 'session.max_output_tokens': integer below minimum value. "
            "Expected a value >= 1, but got 0 instead.",
        ),
        (
            top(model=""),
            "Invalid 'session.model': empty string. Expected a string with minimum length 1, "
            "but got an empty string instead.",
        ),
        (
            transcription(languages=[]),
            "Invalid 'session.audio.input.transcription.languages': empty array. "
            "Expected an array with minimum length 1, but got an empty array instead.",
        ),
    ],
)
def test_the_words_are_those_of_the_official_service(config: object, message: str) -> None:
    assert refusal(config).message == message


def test_of_several_faults_the_least_deep_and_then_the_first_is_told() -> None:
    deep_first = top(audio={"input": {"x": 1}}, nonsense=1)
    assert refusal(deep_first).param == "session.nonsense"
    assert refusal({"nonsense": 1, "audio": 5}).param == "session.type"
    assert refusal(top(tools=[5, {}])).param == "session.tools[0]"
    assert refusal(top(instructions=1, model=1)).param == "session.model"


def test_a_secret_is_not_quoted() -> None:
    assert "hunter2" not in refusal(mcp(authorization=["hunter2"])).message
    assert "hunter2" not in refusal(mcp(headers={"X": ["hunter2"]})).message


def test_what_is_nested_without_end_is_refused() -> None:
    schema: Any = {}
    for _ in range(400):
        schema = {"a": [schema]}
    error = refusal(function(parameters=schema))
    assert error.code == "invalid_value"
    assert (error.param or "").startswith("session.tools[0].parameters.a[0].a[0]")
    assert len(error.message) < 1000


def test_an_object_that_is_deep_for_people_passes() -> None:
    schema: Any = {}
    for _ in range(40):
        schema = {"properties": {"a": schema}}
    assert check_session(function(parameters=schema))


@pytest.mark.parametrize("path", ["session", "body.session", ""])
def test_a_path_of_the_callers_own(path: str) -> None:
    before = f"{path}." if path else ""
    assert refusal({}, path=path).param == f"{before}type"
    assert refusal(top(tools=[{}]), path=path).param == f"{before}tools[0].type"
    assert refusal([], path=path).param == (path or None)


def test_a_transcription_session_where_one_may_be() -> None:
    config = {
        "type": "transcription",
        "include": ["item.input_audio_transcription.logprobs"],
        "audio": {"input": {"transcription": {"model": "whisper-1"}, "turn_detection": None}},
    }
    assert check_session(config, types=BOTH) == config
    assert check_session(REALTIME, types=BOTH) == REALTIME
    foreign: list[tuple[dict[str, object], str]] = [
        ({"instructions": ""}, "session.instructions"),
        ({"model": "m"}, "session.model"),
        ({"audio": {"output": {}}}, "session.audio.output"),
    ]
    for fields, param in foreign:
        error = refusal({"type": "transcription", **fields}, types=BOTH)
        assert (error.code, error.param) == (UNKNOWN, param)
    message = refusal({"type": "x"}, types=BOTH).message
    assert message.endswith("Supported values are: 'realtime' and 'transcription'.")


# Defaults.


def effective(config: dict[str, Any]) -> dict[str, Any]:
    before = deepcopy(config)
    shown = effective_session(config, session_id="sess_1", model="m", expires_at=7)
    assert config == before
    return shown


PCM = {"type": "audio/pcm", "rate": 24000}
SERVER_VAD = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "create_response": True,
    "interrupt_response": True,
    "idle_timeout_ms": None,
}
INPUT = {
    "format": PCM,
    "transcription": None,
    "noise_reduction": None,
    "turn_detection": SERVER_VAD,
}


def test_every_default_is_filled_in() -> None:
    assert effective(REALTIME) == {
        "type": "realtime",
        "object": "realtime.session",
        "id": "sess_1",
        "expires_at": 7,
        "model": "m",
        "output_modalities": ["audio"],
        "instructions": "",
        "audio": {"input": INPUT, "output": {"format": PCM, "voice": "marin", "speed": 1.0}},
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "truncation": "auto",
        "tracing": None,
        "prompt": None,
        "include": None,
    }


def test_a_transcription_session_has_its_own_defaults() -> None:
    assert effective({"type": "transcription"}) == {
        "type": "transcription",
        "object": "realtime.transcription_session",
        "id": "sess_1",
        "expires_at": 7,
        "audio": {"input": INPUT},
        "include": None,
    }


def test_what_the_client_chose_stands() -> None:
    config = top(
        model="mine",
        instructions="Be kind.",
        parallel_tool_calls=False,
        reasoning={},
        tools=[FUNCTION],
        audio={
            "input": {
                "format": {"type": "audio/pcm"},
                "noise_reduction": {"type": "far_field"},
                "transcription": {"model": "whisper-1"},
                "turn_detection": {"type": "semantic_vad", "eagerness": "low"},
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": {"id": "v"}},
        },
    )
    shown = effective(config)
    assert shown["model"] == "mine"
    assert shown["instructions"] == "Be kind."
    assert shown["parallel_tool_calls"] is False
    assert shown["reasoning"] == {"effort": "low"}
    assert shown["tools"] == [FUNCTION]
    assert shown["tools"][0] is not FUNCTION
    assert shown["audio"] == {
        "input": {
            "format": PCM,
            "noise_reduction": {"type": "far_field", "strength": 1.0},
            "transcription": {"model": "whisper-1"},
            "turn_detection": {
                "type": "semantic_vad",
                "eagerness": "low",
                "create_response": True,
                "interrupt_response": True,
            },
        },
        "output": {"format": {"type": "audio/pcmu"}, "voice": "v", "speed": 1.0},
    }


def test_turn_detection_that_is_off_stays_off() -> None:
    assert effective(source(turn_detection=None))["audio"]["input"]["turn_detection"] is None
    some = effective(vad(threshold=0.9))["audio"]["input"]["turn_detection"]
    assert some == SERVER_VAD | {"threshold": 0.9}


@pytest.mark.parametrize("config", GOOD, ids=repr)
def test_whatever_fits_can_be_shown(config: dict[str, Any]) -> None:
    shown = effective(config)
    assert shown["id"] == "sess_1"
    assert {key: shown[key] for key in config if key not in ("audio", "reasoning")} == {
        key: value for key, value in config.items() if key not in ("audio", "reasoning")
    }
