"""The part of a session config that the gateway fixes: which audio goes over the wire.

The media of a phone call is settled with the caller, so the session follows it: G.711 passes
through untouched. A session that asks for `audio/pcm` by itself gets PCM, and the gateway
transcodes. What the server finally says in `session.updated` is what counts.
"""

from copy import deepcopy
from typing import Any

from gateway.audio.formats import PCM24K, AudioFormat
from gateway.realtime.audio import append_event
from gateway.realtime.events import Event

Session = dict[str, Any]


def with_formats(session: Session, leg_format: AudioFormat) -> Session:
    """A copy of `session` in which both directions name a format: its own, or else the leg's."""
    config = deepcopy(session)
    audio = _object(config, "audio")
    for direction in ("input", "output"):
        _object(audio, direction).setdefault("format", leg_format.to_session())
    return config


def without_fixed(event: Event) -> Event:
    """A client's event without what the media of a call has settled: the model and both formats.

    Official clients name them in each `session.update` and expect no error. A response with a
    format of its own would be heard as noise. Everything else stays, unread.
    """
    match event:
        case {"type": "session.update", "session": dict(session)}:
            session = {name: value for name, value in session.items() if name != "model"}
            for direction in ("input", "output"):
                session = _without(session, "audio", direction, "format")
            return event | {"session": session}
        case {"type": "response.create", "response": dict()}:
            return _without(event, "response", "audio", "output", "format")
    return event


def formats_of(session: Session, default: AudioFormat) -> tuple[AudioFormat, AudioFormat]:
    """Input and output format of an effective session; `default` where it names none.

    Raises:
        ValueError: a format that the gateway cannot produce.
    """
    audio = session.get("audio")
    return _format(audio, "input", default), _format(audio, "output", default)


def append_bytes(asked: Session, effective: Session, frame_ms: int) -> int:
    """How long the append of one frame is, as JSON text in the session's input format.

    A format that the gateway cannot produce counts as the protocol's default, 24 kHz PCM.
    """
    try:
        asked_format, _ = formats_of(asked, PCM24K)
        input_format, _ = formats_of(effective, asked_format)
    except ValueError:
        input_format = PCM24K
    return len(append_event(bytes(input_format.bytes_per_ms * frame_ms)))


def _format(audio: object, direction: str, default: AudioFormat) -> AudioFormat:
    side = audio.get(direction) if isinstance(audio, dict) else None
    value = side.get("format") if isinstance(side, dict) else None
    return AudioFormat.from_session(value) if isinstance(value, dict) else default


def _object(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """The object at `key`, made when it is missing or null."""
    value = parent.get(key)
    if not isinstance(value, dict):
        value = parent[key] = {}
    return value


def _without(parent: dict[str, Any], *path: str) -> dict[str, Any]:
    """`parent` without what is at `path`, copied only along it."""
    key, *deeper = path
    if not deeper:
        return {name: value for name, value in parent.items() if name != key}
    child = parent.get(key)
    return parent | {key: _without(child, *deeper)} if isinstance(child, dict) else parent
