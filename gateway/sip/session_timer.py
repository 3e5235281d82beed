"""Session timers: whether both sides still hold the call, asked at intervals (RFC 4028).

Without them a call whose BYE was lost, or whose peer lost its power, is up for ever, and a proxy on
the way cannot tell. Both sides agree on an interval in the 2xx to every INVITE and UPDATE
(Session-Expires), and on which of them says one of the two again when half of it has passed, the
*refresher*. When the interval is nearly over and nothing came the call is hung up. A refresh that
is refused is tried again, a few times, spread over what is left of the interval.

"uac" and "uas" as the refresher are meant of the transaction that says so, so that the same side is
"uac" when it refreshes and "uas" when the other side changes the session.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from gateway.sip.compose import abilities
from gateway.sip.config import SipConfig
from gateway.sip.deadlines import Deadline
from gateway.sip.headers import HeaderError, option_tags, words
from gateway.sip.message import Address, Headers, Message, Request, Response
from gateway.sip.uri import UriError, find_param, parse_params
from gateway.sip.voice import Voice

SHORTEST_S = 90
"""What Min-SE is when nobody says it (section 5)."""
MAX_LENGTHENED = 4
"""So many times a longer interval is tried after a 422; every proxy may have a wish of its own."""
MAX_TRIED = 5
"""So many times a refresh that was refused is tried again."""
TRY_AGAIN_S = 3.0
"""No sooner than that, and up to twice as long: both sides may have said something at once, and are
not to meet again (RFC 3261 section 14.1)."""

_SECONDS = re.compile(r"[0-9]{1,9}")
_NO_UPDATE = frozenset((405, 415, 420, 501))
"""Answers to an UPDATE of a peer that can do none after all."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed on."""

    interval_s: int
    by_us: bool
    """Whether we refresh."""

    @property
    def grace_s(self) -> float:
        """So long before its end a session that was not refreshed is hung up (section 10)."""
        return min(32.0, self.interval_s / 3)


def said_interval(headers: Headers) -> tuple[int, str | None] | None:
    """Session-Expires: seconds and refresher; None without one that can be read."""
    value = headers.get("Session-Expires")
    if value is None:
        return None
    seconds, semicolon, params = value.partition(";")
    if not _SECONDS.fullmatch(seconds.strip(" ")):
        return None
    try:
        refresher = find_param(parse_params(semicolon + params), "refresher")
    except UriError:
        return None
    return int(seconds), None if refresher is None else refresher.lower()


def said_minimum(headers: Headers) -> int:
    """Min-SE in seconds, 0 without one that can be read."""
    seconds = (headers.get("Min-SE") or "").partition(";")[0].strip(" ")
    return int(seconds) if _SECONDS.fullmatch(seconds) else 0


def said_pause(headers: Headers) -> int:
    """Retry-After in seconds (RFC 3261 section 20.33), 0 without one that can be read."""
    seconds = _SECONDS.match(headers.get("Retry-After") or "")
    return int(seconds[0]) if seconds else 0


def wanted(config: SipConfig) -> tuple[tuple[str, str], ...]:
    """What the first INVITE asks for."""
    if not config.session_expires_s:
        return ()
    return _said(max(config.session_expires_s, config.min_se_s), None, config.min_se_s)


def is_too_brief(request: Request, config: SipConfig) -> bool:
    """Whether an INVITE or UPDATE deserves a 422: who knows no timers could not make use of it."""
    said = said_interval(request.headers)
    if not config.session_expires_s or said is None:
        return False
    return said[0] < config.min_se_s and _speaks_of(request, "timer")


def agreed(request: Request, config: SipConfig) -> Terms | None:
    """What our 2xx to an INVITE or UPDATE says (section 9); None: no timer.

    The interval is never made longer than what was asked for, if that is as long as anybody may
    ask for (section 5), nor shorter than what the peer can bear. A peer that could keep time and
    did not ask is refreshed by us; one that cannot, only if a proxy asked.
    """
    can_refresh = _speaks_of(request, "timer")
    said = said_interval(request.headers)
    if not config.session_expires_s or (said is None and not can_refresh):
        return None
    bearable = max(said_minimum(request.headers), config.min_se_s)
    interval_s = max(config.session_expires_s, bearable)
    if said is None:
        return Terms(interval_s, by_us=True)
    # Shorter than we bear it may only be for a peer that would not understand a 422.
    interval_s = min(interval_s, max(said[0], SHORTEST_S))
    return Terms(interval_s, by_us=said[1] == "uas" or not can_refresh)


def told(response: Response, config: SipConfig) -> Terms | None:
    """What a 2xx to an INVITE or UPDATE of ours says (section 7.2); None: no timer."""
    said = said_interval(response.headers)
    if not config.session_expires_s or said is None:
        return None
    # Nobody may make us say things more often than we asked for.
    return Terms(max(said[0], config.min_se_s), by_us=said[1] != "uas")


def answer_headers(terms: Terms | None) -> tuple[tuple[str, str], ...]:
    """What goes into our 2xx. `Require` holds the peer to its part (section 9)."""
    if terms is None:
        return ()
    refresher = "uas" if terms.by_us else "uac"
    said = ("Session-Expires", f"{terms.interval_s};refresher={refresher}")
    return (said,) if terms.by_us else (("Require", "timer"), said)


def _said(interval_s: int, refresher: str | None, minimum_s: int) -> tuple[tuple[str, str], ...]:
    named = f"{interval_s};refresher={refresher}" if refresher else str(interval_s)
    least = (("Min-SE", str(minimum_s)),) if minimum_s > SHORTEST_S else ()
    return (("Session-Expires", named), *least)


def _speaks_of(message: Message, tag: str) -> bool:
    try:
        return any(tag in option_tags(message.headers, name) for name in ("Supported", "Require"))
    except HeaderError:
        return False


class SessionTimer:
    """That of one call.

    Args:
        reinvite: offer the same session once more.
        on_silence: the session was not refreshed in time.
        on_lost: is told 408 or 481 when a refresh was answered so.
    """

    def __init__(
        self,
        voice: Voice,
        *,
        reinvite: Callable[[float], None],
        on_silence: Callable[[float], None],
        on_lost: Callable[[int, float], object],
    ) -> None:
        self._voice = voice
        self._config = voice.board.config
        self._reinvite = reinvite
        self._on_silence = on_silence
        self._on_lost = on_lost
        self._terms: Terms | None = None
        self._minimum_s = self._config.min_se_s
        self._lengthened = 0
        self._tried = 0
        self._peer_takes_update = False
        self._is_asking = False
        self._is_due = False
        """Whether a refresh was called for and has not come about."""
        self._refresh: Deadline | None = None
        self._expiry: Deadline | None = None
        self._until = 0.0  # the time of that

    def asks(self) -> tuple[tuple[str, str], ...]:
        """What an INVITE or UPDATE of ours inside the dialog says."""
        terms = self._terms
        if terms is None:
            return ()
        interval_s = max(terms.interval_s, self._minimum_s)
        return _said(interval_s, "uac" if terms.by_us else "uas", self._minimum_s)

    def asks_first(self) -> tuple[tuple[str, str], ...]:
        """What the first INVITE says after a 422."""
        interval_s = max(self._config.session_expires_s, self._minimum_s)
        return _said(interval_s, None, self._minimum_s)

    def learn(self, message: Message) -> None:
        """Note from a message of the peer what it can do."""
        try:
            methods = words(message.headers, "Allow")
        except HeaderError:
            return
        if methods:
            self._peer_takes_update = "UPDATE" in methods

    def agree(self, request: Request, now: float) -> tuple[tuple[str, str], ...]:
        """Count anew because we agree to a request; the headers of our 2xx."""
        self.learn(request)
        self._start(agreed(request, self._config), now)
        return answer_headers(self._terms)

    def answered(self, response: Response, now: float) -> None:
        """Count anew because the peer agreed to a request of ours."""
        self.learn(response)
        self._start(told(response, self._config), now)

    def lengthens(self, response: Response) -> bool:
        """Take a 422; whether to ask again, for longer."""
        least_s = said_minimum(response.headers)
        if least_s <= self._minimum_s or self._lengthened >= MAX_LENGTHENED:
            return False
        self._lengthened += 1
        self._minimum_s = least_s
        return True

    def stop(self) -> None:
        self._terms = None
        self._is_due = False
        for deadline in (self._refresh, self._expiry):
            self._voice.cancel(deadline)

    def _start(self, terms: Terms | None, now: float) -> None:
        self.stop()
        self._tried = 0
        self._terms = terms
        if terms is None:
            return
        left_s = terms.interval_s - terms.grace_s
        self._until = now + left_s
        self._expiry = self._voice.later(left_s, self._on_silence, now)
        if terms.by_us:
            self._refresh = self._voice.later(terms.interval_s / 2, self.refresh, now)

    def refresh(self, now: float) -> None:
        """Say that the session goes on."""
        if self._terms is None or self._is_asking:
            return
        self._is_due = True
        if not self._peer_takes_update:
            self._reinvite(now)
            return
        voice = self._voice
        update = voice.dialog.request("UPDATE")
        described = abilities(self._config, reliable=False)
        for name, value in (("Contact", voice.contact()), *described, *self.asks()):
            update.headers.add(name, value)
        self._is_asking = True
        voice.requests.send(
            update, voice.dialog, now, on_response=self._heard, on_failure=self._failed
        )

    def _heard(self, response: Response, source: Address, now: float) -> None:
        if response.status < 200:
            return
        self._is_asking = False
        if self._terms is None:  # the call is over
            return
        if response.status < 300:
            self._voice.dialog.refresh(response)
            self._voice.dialog.heard_from(source)
            self.answered(response, now)
        elif response.status in _NO_UPDATE:
            self._peer_takes_update = False
            self.refresh(now)
        elif response.status in (408, 481):
            self._on_lost(response.status, now)
        elif response.status == 422 and self.lengthens(response):
            self.refresh(now)
        else:
            self.refused(response, now)

    def _failed(self, cause: str, now: float) -> None:
        self._is_asking = False
        if self._terms is None:
            return
        if cause == "timeout":
            self._on_lost(408, now)
        else:
            self.refused(None, now)

    def refused(self, response: Response | None, now: float) -> None:
        """Take what became of an UPDATE or INVITE of ours that would have been a refresh: try
        again, if one is due. Without a response the peer could not be reached.

        Not before the peer is ready (Retry-After), unless the session would be over by then.
        """
        is_hopeless = response is not None and response.status == 422  # no interval suits it
        if not self._is_due or is_hopeless or self._tried >= MAX_TRIED:
            return
        self._is_due = False
        left_s = self._until - now
        share_s = left_s / (MAX_TRIED + 1 - self._tried)
        self._tried += 1
        wanted_s = 0 if response is None else said_pause(response.headers)
        pause_s = min(max(share_s, wanted_s), left_s - share_s)
        least_s = TRY_AGAIN_S * (1 + self._voice.board.fraction())
        self._refresh = self._voice.later(max(pause_s, least_s), self.refresh, now)
