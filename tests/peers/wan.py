"""A network with loss, jitter and reordering between two hosts, both of them on this machine.

Each host is a network namespace. Whatever a thread that is *on* a host opens or starts belongs
there: sockets, threads, processes. Between the hosts `wan_relay` does to each packet what a link of
that kind does, by a random number of its own, so that a seed gives the same network again.
"""

import ctypes
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import pytest

Result = TypeVar("Result")

_ROOT = Path(__file__).parents[2]
_CLONE_NEWNET = 0x40000000


def need_namespaces() -> None:
    """Skip the test where no network can be made."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not Path("/dev/net/tun").exists():
        pytest.skip("there is no /dev/net/tun here")


@dataclass(frozen=True, slots=True)
class Link:
    """One direction. A packet takes `delay_s` and up to `jitter_s` more, so it may overtake."""

    loss: float = 0.0
    """Share of the packets, 0 to 1."""
    delay_s: float = 0.0
    jitter_s: float = 0.0
    reorder: float = 0.0
    """Share of the packets that take `reorder_s` more."""
    reorder_s: float = 0.03


class Host:
    """One end. Its loopback is up and its own."""

    def __init__(self, address: str, namespace: str) -> None:
        self.address = address
        self._namespace = namespace

    def run(self, work: Callable[[], Result]) -> Result:
        """Do this on the host, in a thread of its own; returns when it is done.

        Raises:
            whatever it raises.
        """
        results: list[Result] = []
        errors: list[BaseException] = []

        def there() -> None:
            try:
                self._enter()
                results.append(work())
            except BaseException as error:  # pytest's skip and fail are no Exceptions
                errors.append(error)

        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
        return results[0]

    def _enter(self) -> None:
        namespace = os.open(self._namespace, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(namespace, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(namespace)


class Wan:
    """Use as a context manager.

    Args:
        there: of the packets of `far`, the first host.
        back: of those of `near`; None is the same.
    """

    def __init__(self, there: Link, back: Link | None = None, *, seed: int = 1) -> None:
        self._links = (there, there if back is None else back)
        self._seed = seed
        self.counts: list[dict[str, int]] = []
        """What became of the packets of each host, once the network is gone."""

    def __enter__(self) -> Self:
        addresses = "10.99.0.1", "10.99.0.2"  # nobody else sees them
        links = (json.dumps(asdict(link)) for link in self._links)
        self._relay = subprocess.Popen(
            [sys.executable, "-m", "tests.peers.wan_relay", *addresses, str(self._seed), *links],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._relay.stdout is not None
        line = self._relay.stdout.readline()
        if not line:
            self._relay.wait()
            pytest.skip("no network namespaces or no TUN devices can be made here")
        self.far, self.near = (
            Host(address, f"/proc/{self._relay.pid}/fd/{number}")
            for address, number in zip(addresses, json.loads(line), strict=True)
        )
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        told, _ = self._relay.communicate(timeout=10)
        self.counts = json.loads(told or "[]")
