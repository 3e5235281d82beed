"""Hosts that calls are with: what is asked before a packet of a stranger is read.

A flood asks that of every packet, so it must not look at the calls, of which there may be hundreds.
Each call tells instead when it is with somebody else.
"""

from collections import Counter


class Peers:
    """Hosts, each for as long as a call is with it."""

    __slots__ = ("_calls", "_hosts_of")

    def __init__(self) -> None:
        self._hosts_of: dict[str, tuple[str, ...]] = {}
        self._calls: Counter[str] = Counter()

    def __contains__(self, host: str) -> bool:
        return host in self._calls

    def note(self, call_id: str, *hosts: str) -> None:
        """The call is with these from now on, and with none of those that it was with before."""
        before = self._hosts_of.pop(call_id, ())
        if hosts:
            self._hosts_of[call_id] = hosts
        self._calls.update(hosts)
        self._calls.subtract(before)
        for host in before:
            if not self._calls[host]:
                del self._calls[host]
