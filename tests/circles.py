"""What only the garbage collector would free: objects of ours that know each other in a circle."""

import gc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def circles() -> Iterator[Counter[str]]:
    """Nothing is collected meanwhile; afterwards it says how many objects of which of our types
    were left in circles."""
    gc.collect()
    gc.disable()
    left: Counter[str] = Counter()
    try:
        yield left
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        kinds = (type(one) for one in gc.garbage)
        left.update(f"{kind.__module__}.{kind.__qualname__}" for kind in kinds if _is_ours(kind))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.collect()


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("gateway.")
