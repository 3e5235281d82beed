"""How a call comes by its Realtime session, and what its application hears when it does not."""

from typing import NamedTuple, Protocol

from gateway.audio.formats import AudioFormat
from gateway.realtime.errors import RealtimeError
from gateway.realtime.session import Session, formats_of, with_formats
from gateway.upstream.errors import BackendError
from gateway.upstream.realtime import RealtimeSession


class OpensSessions(Protocol):
    """Where sessions come from."""

    async def open(self, session: Session) -> RealtimeSession: ...


class Opened(NamedTuple):
    """A session that can be joined with the leg."""

    session: RealtimeSession
    input_format: AudioFormat
    output_format: AudioFormat


class NoSessionError(Exception):
    """There is no session to be had.

    `reason` stands in the call's record and `logged` in the log; `told` is for the application: its
    own mistake as a 400, the server's absence as a 502. The text may quote what the application
    said.
    """

    def __init__(self, reason: str, text: str, logged: str, told: RealtimeError) -> None:
        super().__init__(text)
        self.reason = reason
        self.logged = logged
        self.told = told


async def open_session(backend: OpensSessions, config: Session, leg_format: AudioFormat) -> Opened:
    """Connect and configure a session for a leg of that format.

    Raises:
        NoSessionError: nothing is left open.
    """
    wanted = with_formats(config, leg_format)
    try:
        session = await backend.open(wanted)
    except BackendError as error:
        text, logged = str(error), error.logged()
        raise NoSessionError("backend_unavailable", text, logged, error.told()) from None
    try:
        # The server's word, and where it says nothing what was asked for.
        asked_input, asked_output = formats_of(wanted, leg_format)
        input_format, _ = formats_of(session.effective, asked_input)
        _, output_format = formats_of(session.effective, asked_output)
    except ValueError as error:
        await session.close()
        told = RealtimeError(str(error), code="unsupported_format", param="session.audio")
        raise NoSessionError("backend_format", str(error), str(error), told) from None
    return Opened(session, input_format, output_format)
