"""The texts of one connection, between a reader of GA and a server of another dialect.

Audio, which passes many times a second, is not parsed: appends are the same in every dialect, and
for deltas the dialect has a short way. What cannot be read passes as it came, for whoever it is
meant for to say so.
"""

from gateway.realtime.audio import is_audio_delta
from gateway.realtime.beta_events import client_from_beta, server_to_beta
from gateway.realtime.dialects import Dialect, DialectOptions
from gateway.realtime.events import Event, EventError, encode_event, parse_event
from gateway.upstream.ids import new_event_id

_APPEND = b'"input_audio_buffer.append"'
_TYPE_WINDOW = 64  # bytes within which clients write the type
_DELTA = b'"response.output_audio.delta"'
_BETA_DELTA = b'"response.audio.delta"'


class Translator:
    """Made by `translator`.

    Args:
        dialect: the server's.
        beta_client: whether the reader on our side speaks beta instead of GA.
    """

    def __init__(self, dialect: Dialect, beta_client: bool) -> None:
        self._dialect = dialect
        self._beta_client = beta_client

    def to_server(self, event: Event) -> list[bytes]:
        """A GA client event, in the server's words. Drain `answers` after it."""
        return [encode_event(said) for said in self._dialect.to_server(event)]

    def from_client(self, message: bytes) -> list[bytes]:
        """The text of a client, in the server's words. Drain `answers` after it."""
        if message.find(_APPEND, 0, _TYPE_WINDOW) >= 0:
            return [message]
        try:
            event = parse_event(message)
        except EventError:
            return [message]
        asked = client_from_beta(event) if self._beta_client else [event]
        return [text for one in asked for text in self.to_server(one)]

    def from_server(self, message: bytes) -> list[bytes]:
        """The text of a server, in the reader's words."""
        message = self._dialect.delta(message)
        if is_audio_delta(message):
            return [message.replace(_DELTA, _BETA_DELTA, 1) if self._beta_client else message]
        try:
            event = parse_event(message)
        except EventError:
            return [message]
        return self._told(self._dialect.from_server(event))

    def answers(self) -> list[bytes]:
        """What the reader is to hear of what the server was not asked."""
        return self._told(self._dialect.answers())

    def _told(self, events: list[Event]) -> list[bytes]:
        if self._beta_client:
            events = [told for event in events for told in server_to_beta(event)]
        return [encode_event(event) for event in events]


def translator(options: DialectOptions, *, beta_client: bool = False) -> Translator | None:
    """What a connection needs to be understood; None when both sides speak alike.

    A client that speaks beta to a server of GA is not translated: those that have both take the
    client's header for it.
    """
    dialect = Dialect(options, new_event_id)
    if dialect.plain or (beta_client and options.name == "beta"):
        return None
    return Translator(dialect, beta_client)
