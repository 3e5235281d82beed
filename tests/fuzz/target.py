"""What the fuzzers share: atheris, told for how long, and begun with what is valid."""

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

MAX_INPUT_BYTES = 4096


def instrumented() -> AbstractContextManager[None]:
    """Imports made under it tell the fuzzer where they have been."""
    if importlib.util.find_spec("atheris") is None:
        raise SystemExit("the fuzzers need atheris, which there is for CPython on Linux")
    import atheris

    hooked: AbstractContextManager[None] = atheris.instrument_imports(include=["gateway"])
    return hooked


def begin(one_input: Callable[[bytes], None], seeds: Iterable[bytes]) -> NoReturn:
    """Run until the time is over, or something raised; exits with libFuzzer's status."""
    import atheris

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=int, default=60)
    seconds = options.parse_args().seconds
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / f"seed{number}").write_bytes(seed)
        limits = [f"-max_total_time={seconds}", f"-max_len={MAX_INPUT_BYTES}"]
        atheris.Setup([sys.argv[0], corpus, *limits, "-verbosity=1"], one_input)
        atheris.Fuzz()
    raise SystemExit(0)
