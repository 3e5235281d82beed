"""Provisional answers that are known to arrive (RFC 3262).

    callee   says a 180 or 183 with a number (RSeq) again and again, until a PRACK repeats it (RAck)
    caller   says a PRACK for each, in the order of the numbers

One of ours is out at a time; what is to be said meanwhile waits its turn.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from gateway.sip.compose import abilities, sequence_number
from gateway.sip.deadlines import Deadline
from gateway.sip.headers import HeaderError, option_tags
from gateway.sip.layer import ServerTransaction
from gateway.sip.message import Headers, Request, Response
from gateway.sip.voice import Voice

MAX_WAITING = 8
MAX_FIRST = 2**31 - 1
"""The first number is at most this (section 3), so that it can count up for long."""

_RSEQ = re.compile(r"[0-9]{1,10}")
_RACK = re.compile(r"([0-9]{1,10})[ ]++([0-9]{1,10})[ ]++([A-Za-z0-9\-.!%*_+`'~]++)")


def asks_for(headers: Headers, name: str) -> bool:
    """Whether 100rel is among the option tags of `name` (Require, Supported)."""
    try:
        return "100rel" in option_tags(headers, name)
    except HeaderError:
        return False


def number_of(response: Response) -> int | None:
    """The RSeq of a reliable provisional response; None of any other."""
    value = response.headers.get("RSeq") or ""
    if not 100 < response.status < 200 or not asks_for(response.headers, "Require"):
        return None
    return int(value) if _RSEQ.fullmatch(value) else None


class Progress(NamedTuple):
    status: int
    body: bytes


class ReliableAnswers:
    """The reliable provisional answers to one INVITE that came in.

    `on_silence(now)` is called when one was not acknowledged for 64 T1.
    """

    def __init__(
        self,
        voice: Voice,
        invite: Request,
        transaction: ServerTransaction,
        on_silence: Callable[[float], None],
    ) -> None:
        self.has_answered = False
        """An SDP of ours was acknowledged."""
        self._voice = voice
        self._invite = invite
        self._transaction = transaction
        self._on_silence = on_silence
        self._number = int(voice.board.fraction() * (MAX_FIRST - 1))  # of the last one
        self._open: Progress | None = None
        self._said = b""  # that one, as it was sent
        self._waiting: list[Progress] = []
        self._pause_s = 0.0
        self._again: Deadline | None = None
        self._limit: Deadline | None = None

    @property
    def holds_up(self) -> bool:
        """Whether a 2xx has to wait: an SDP of ours is not acknowledged (section 3)."""
        said = (self._open, *self._waiting)
        return any(one is not None and one.body for one in said)

    @property
    def has_said_sdp(self) -> bool:
        """Whether there is an answer to the offer, at least on its way. There is no second one."""
        return self.has_answered or self.holds_up

    def send(self, status: int, body: bytes, now: float) -> None:
        """Say it when it is its turn. More than a few in a row are left out."""
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(Progress(status, body))
            self.go_on(now)

    def acknowledge(self, prack: Request, now: float) -> bool:
        """Take a PRACK; whether it is of the one that is out."""
        match = _RACK.fullmatch((prack.headers.get("RAck") or "").strip(" "))
        if match is None or self._open is None:
            return False
        numbers = (self._number, sequence_number(self._invite))
        if (int(match[1]), int(match[2])) != numbers or match[3] != "INVITE":
            return False
        if self._open.body:
            self.has_answered = True
        self._open = None
        self._stop_repeating()
        return True

    def go_on(self, now: float) -> None:
        """Say the next one, if none is out."""
        if self._open is not None or not self._waiting:
            return
        self._open = self._waiting.pop(0)
        voice, config = self._voice, self._voice.board.config
        self._number += 1
        self._pause_s = config.t1
        self._again = voice.later(self._pause_s, self._repeat, now)
        self._limit = voice.later(64 * config.t1, self._give_up, now)
        headers = (
            ("Require", "100rel"),
            ("RSeq", str(self._number)),
            ("Contact", voice.contact()),
            *abilities(config),
        )
        status, body = self._open
        self._said = voice.respond(
            self._invite, self._transaction, status, now, headers, body=body
        ).to_bytes()

    def stop(self) -> None:
        """The INVITE has its answer; a PRACK that is still to come is welcome."""
        self._waiting.clear()
        self._stop_repeating()

    def _repeat(self, now: float) -> None:
        # Not what the transaction said last: that may be a 180 which nobody has to acknowledge.
        self._voice.board.outbox.send_again(self._said, self._transaction.to)
        self._pause_s *= 2
        self._again = self._voice.later(self._pause_s, self._repeat, now)

    def _give_up(self, now: float) -> None:
        self.stop()
        self._on_silence(now)

    def _stop_repeating(self) -> None:
        self._voice.cancel(self._again)
        self._voice.cancel(self._limit)
