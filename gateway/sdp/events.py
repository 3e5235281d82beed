"""Telephone-events (RFC 4733): which of them an answer names."""

import re
from typing import Final

TELEPHONE_EVENT: Final = "telephone-event"
_DIGITS: Final = range(16)  # 0-9 * # A-D, what RFC 4733 assumes if nothing is said
_LAST: Final = 16  # flash
_RANGE: Final = re.compile(r"\s*(\d{1,3})(?:-(\d{1,3}))?\s*", re.ASCII)


def common_events(offered: str | None) -> str:
    """The events of the offer that we have, as ranges: of 0-15 the digits, 16 is the hook flash.

    `offered` are the format parameters of the offer, None when it has none.
    """
    wanted: set[int] = set()
    for item in (offered or "").split(","):
        match = _RANGE.fullmatch(item)
        if match:
            wanted.update(range(int(match[1]), min(int(match[2] or match[1]), _LAST) + 1))
    events = sorted(wanted) or list(_DIGITS)
    starts = [event for event in events if event - 1 not in events]
    ends = [event for event in events if event + 1 not in events]
    return ",".join(
        str(first) if first == last else f"{first}-{last}"
        for first, last in zip(starts, ends, strict=True)
    )
