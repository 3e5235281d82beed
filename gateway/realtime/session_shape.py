"""Where voice and turn detection stand in a session of GA words: in `audio`, or flat at its top.

Flat ones are read like those of beta, which are flat as well.
"""

from typing import Any, Final

from gateway.realtime.events import without

Fields = dict[str, Any]

_PLACES: Final = {"voice": "output", "turn_detection": "input"}


def lifted(session: Fields) -> Fields:
    """A nested session, or a part of one, made flat."""
    audio = session.get("audio")
    if not isinstance(audio, dict):
        return session
    flat = without(session, "audio")
    left = dict(audio)
    for name, direction in _PLACES.items():
        side = left.get(direction)
        if isinstance(side, dict) and name in side:
            flat[name] = side[name]
            side = without(side, name)
            left = without(left, direction)
            if side:
                left[direction] = side
    return flat | {"audio": left} if left or not audio else flat
