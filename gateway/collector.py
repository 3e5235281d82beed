"""The garbage collector, set so that it is not heard.

A collection stops every call while it lasts, which is as long as what it looks at is large. So what
start-up made is not looked at again, and of what came later a little at a time: the youngest often,
all of it seldom. A telephone call leaves no circles behind when it ends (see `Call` and
`sip.call_life`), so there is hardly ever anything to find; one of a browser leaves those of aioice
and aiortc.
"""

import gc

_YOUNG = 2_000
"""Objects more than there were: a look at the youngest takes a few milliseconds then."""
_OLDER, _ALL = 10, 100
"""So many looks at the younger ones lead to one at the next older."""


def settle() -> None:
    """To be called once, when everything that is to stay has been made."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _OLDER, _ALL)
