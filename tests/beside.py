"""Whether this process runs its tests beside another one, which may not be given the same ports."""

import os

IS_BESIDE = "TESTS_RUN_BESIDE_OTHERS"


def half(numbers: range) -> range:
    """The half of them that is this process's own."""
    middle = len(numbers) // 2
    return numbers[middle:] if os.environ.get(IS_BESIDE) else numbers[:middle]
