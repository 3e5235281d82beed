"""The flat words of the beta API for sessions and responses, to and from the nested ones of GA.

A partial config stays partial: only what is there is said again. What neither side is known to
have, a server's own fields, passes by name. What the other side has no word for is dropped:

* beta's `temperature` and `client_secret`;
* GA's `type`, `truncation`, `parallel_tool_calls` and `reasoning`, MCP tools, the rate of a format
  and the `id` around a voice;
* from what a client asks for, because a beta server refuses it, also `idle_timeout_ms` of a turn
  detection, `strength` of a noise reduction, `languages`, `keywords` and `delay` of a
  transcription, and `prompt` of a response.

Nothing is checked here: a value of the wrong kind goes through, for whoever checks it.
"""

from typing import Any, Final

Fields = dict[str, Any]

_TYPES: Final = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_FORMATS: Final = {value: name for name, value in _TYPES.items()}
_PCM_HZ: Final = 24_000

_AUDIO: Final = {
    "input_audio_format": ("input", "format"),
    "input_audio_transcription": ("input", "transcription"),
    "input_audio_noise_reduction": ("input", "noise_reduction"),
    "turn_detection": ("input", "turn_detection"),
    "output_audio_format": ("output", "format"),
    "voice": ("output", "voice"),
    "speed": ("output", "speed"),
}
_LIMIT, _GA_LIMIT = "max_response_output_tokens", "max_output_tokens"
_BETA_ONLY: Final = {"temperature", "client_secret"}
_GA_ONLY: Final = {"type", "truncation", "parallel_tool_calls", "reasoning"}
_GA_ONLY_INSIDE: Final = {
    "turn_detection": {"idle_timeout_ms", "model_version"},
    "input_audio_noise_reduction": {"strength"},
    "input_audio_transcription": {"languages", "keywords", "delay"},
}
_PATHS: Final = {
    "modalities": "output_modalities",
    _LIMIT: _GA_LIMIT,
    **{flat: f"audio.{direction}.{name}" for flat, (direction, name) in _AUDIO.items()},
}
_FLAT_PATHS: Final = {path: flat for flat, path in _PATHS.items()}
_ROOTS: Final = ("session.", "response.")


def nested(flat: Fields) -> Fields:
    """A session config, or what is said of a response, in GA words; without a session's `type`.

    What is in GA words already stays as it is.
    """
    config = {
        _GA_LIMIT if name == _LIMIT else name: value
        for name, value in flat.items()
        if name not in _AUDIO and name not in _BETA_ONLY and name != "modalities"
    }
    if "modalities" in flat:
        config["output_modalities"] = _one_modality(flat["modalities"])
    if isinstance(config.get("tools"), list):
        config["tools"] = [_raised(tool) for tool in config["tools"]]
    if "tool_choice" in config:
        config["tool_choice"] = _raised(config["tool_choice"])
    given = config.get("audio")
    audio: Fields = dict(given) if isinstance(given, dict) else {}
    for name, (direction, key) in _AUDIO.items():
        if name in flat:
            side = audio.get(direction)
            value = {key: _nested_value(key, flat[name])}
            audio[direction] = (side if isinstance(side, dict) else {}) | value
    return config | {"audio": audio} if audio else config


def flat_update(session: Fields) -> Fields:
    """What a client asks of a session, in beta words."""
    flat = _flat(session, _GA_ONLY)
    for name, unknown in _GA_ONLY_INSIDE.items():
        if isinstance(flat.get(name), dict):
            flat[name] = {key: value for key, value in flat[name].items() if key not in unknown}
    return flat


def flat_request(response: Fields) -> Fields:
    """What a client asks of a response, in beta words; its items are left alone."""
    return _flat(response, {*_GA_ONLY, "prompt"})


def flat_session(session: Fields) -> Fields:
    """A session that a server shows, in beta words."""
    return _flat(session, _GA_ONLY)


def flat_response(response: Fields) -> Fields:
    """A response that a server shows, in beta words; its items are left alone. Its limit has the
    same name in both."""
    return _flat(response, _GA_ONLY, limit=_GA_LIMIT)


def nested_path(param: str) -> str:
    """The path of a flat parameter, like `session.turn_detection.type`, in GA's config."""
    return _path(param, _PATHS)


def flat_path(param: str) -> str:
    """The path of a GA parameter in the flat config. A flat format has nothing inside."""
    path = _path(param, _FLAT_PATHS)
    return (
        path.partition("_audio_format.")[0] + "_audio_format" if "_audio_format." in path else path
    )


def both_modalities(value: Any) -> Any:
    """Beta lists what comes with speech, its text, beside it; GA does not."""
    return ["audio", "text"] if isinstance(value, list) and "audio" in value else value


def _one_modality(value: Any) -> Any:
    known = isinstance(value, list) and value and all(one in ("audio", "text") for one in value)
    return ["audio" if "audio" in value else "text"] if known else value


def _nested_value(key: str, value: Any) -> Any:
    if key == "format" and isinstance(value, str):
        kind = _TYPES.get(value, value)
        return {"type": kind, "rate": _PCM_HZ} if kind == "audio/pcm" else {"type": kind}
    if key == "turn_detection" and isinstance(value, dict):
        # Beta needs no type, and some servers have one that means that there is no detection.
        none = value.get("type", "server_vad") in (None, "none")
        return None if none else {"type": "server_vad"} | value
    return value


def _flat(config: Fields, dropped: set[str], *, limit: str = _LIMIT) -> Fields:
    moved = {*dropped, "audio", "output_modalities"}
    flat = {
        limit if name == _GA_LIMIT else name: value
        for name, value in config.items()
        if name not in moved
    }
    if "output_modalities" in config:
        flat["modalities"] = both_modalities(config["output_modalities"])
    if isinstance(flat.get("tools"), list):
        flat["tools"] = [tool for tool in flat["tools"] if not _is_mcp(tool)]
    if "tool_choice" in flat:
        flat["tool_choice"] = _lowered_choice(flat["tool_choice"])
    audio = config.get("audio")
    for name, (direction, key) in _AUDIO.items():
        side = audio.get(direction) if isinstance(audio, dict) else None
        if isinstance(side, dict) and key in side:
            flat[name] = _flat_value(key, side[key])
    return flat


def _flat_value(key: str, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if key == "format":
        kind = value.get("type")
        return _FORMATS.get(kind, kind) if isinstance(kind, str) else value
    return value.get("id", value) if key == "voice" else value


def _is_mcp(tool: Any) -> bool:
    return isinstance(tool, dict) and tool.get("type") == "mcp"


def _raised(value: Any) -> Any:
    """A function that stands one level deeper, as beta's reference has it for a choice."""
    match value:
        case {"type": "function", "function": dict(function)}:
            return {key: of for key, of in value.items() if key != "function"} | function
    return value


def _lowered_choice(value: Any) -> Any:
    match value:
        case {"type": "function", "name": name}:
            return {"type": "function", "function": {"name": name}}
    return value


def _path(param: str, names: dict[str, str]) -> str:
    root = next((one for one in _ROOTS if param.startswith(one)), "")
    rest = param.removeprefix(root)
    for name, said in names.items():
        if root and (rest == name or rest.startswith((f"{name}.", f"{name}["))):
            return root + said + rest.removeprefix(name)
    return param
