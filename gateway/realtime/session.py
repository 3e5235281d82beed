"""The part of a session config that the gateway fixes: which audio goes over the wire.

The media of a phone call is settled with the caller, so the session follows it: G.711 passes
through untouched. A session that asks for `audio/pcm` by itself gets PCM, and the gateway
transcodes. What the server finally says in `session.updated` is what counts.
"""

from collections.abc import Mapping
from typing import Any

from gateway.audio.formats import AudioFormat
from gateway.realtime.audio import append_event
from gateway.realtime.events import Event, without

Session = dict[str, Any]


def with_formats(
    session: Session,
    leg_format: AudioFormat,
    input_format: AudioFormat | None = None,
    output_format: AudioFormat | None = None,
) -> Session:
    """A copy of `session` in which both directions name a format.

    Args:
        leg_format: where the session names none itself.
        input_format: whatever the session says; for a server that takes nothing else.
        output_format: likewise, for one that sends nothing else.
    """
    audio = _object(session.get("audio"))
    for direction, fixed in (("input", input_format), ("output", output_format)):
        side = _object(audio.get(direction))
        named = side.get("format") if fixed is None else fixed.to_session()
        wanted = named if isinstance(named, dict) else leg_format.to_session()
        audio = audio | {direction: side | {"format": wanted}}
    return session | {"audio": audio}


def without_fixed(event: Event) -> Event:
    """A client's event without what the media of a call has settled: the model and both formats.

    Official clients name them in each `session.update` and expect no error. A response with a
    format of its own would be heard as noise. Everything else stays, unread.
    """
    match event:
        case {"type": "session.update", "session": dict(session)}:
            return event | {"session": without_formats(without(session, "model"))}
        case {"type": "response.create", "response": dict()}:
            return without(event, "response", "audio", "output", "format")
    return event


def without_formats(session: Session) -> Session:
    """A session config that leaves both formats to the media of the call."""
    for direction in ("input", "output"):
        session = without(session, "audio", direction, "format")
    return session


def settled_formats(asked: Session, effective: Session) -> tuple[AudioFormat, AudioFormat]:
    """Input and output format of a session: the server's word, and else what it was asked for.

    Args:
        asked: as `with_formats` made it.
        effective: as the server confirmed it.

    Raises:
        ValueError: a format that the gateway cannot produce.
    """
    return _settled("input", asked, effective), _settled("output", asked, effective)


def format_of(session: object, direction: str) -> dict[str, Any] | None:
    """The format that a session names for a direction, "input" or "output"; None where there is
    none."""
    value: Any = session
    for key in ("audio", direction, "format"):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else None


def append_bytes(input_format: AudioFormat, frame_ms: int) -> int:
    """How long the append of one frame is, as JSON text."""
    return len(append_event(bytes(input_format.bytes_per_ms * frame_ms)))


def _settled(direction: str, asked: Session, effective: Session) -> AudioFormat:
    wanted = AudioFormat.from_session(format_of(asked, direction) or {})
    told = format_of(effective, direction)
    if told is None:
        return wanted
    if told.get("rate") is not None:
        return AudioFormat.from_session(told)
    got = AudioFormat.from_session({"type": told.get("type")})
    return wanted if got.encoding == wanted.encoding else got


def turn_detection_of(session: Session) -> Mapping[str, Any] | None:
    """How an effective session finds the caller's turns; None if not at all.

    What a server does not show is as the protocol has it, so an empty one is the default.
    """
    side: object = session
    for key in ("audio", "input"):
        side = side.get(key) if isinstance(side, dict) else None
    shown = side.get("turn_detection", {}) if isinstance(side, dict) else {}
    return shown if isinstance(shown, dict) else None


def _object(value: object) -> dict[str, Any]:
    """The object, or an empty one where there is none."""
    return value if isinstance(value, dict) else {}
