"""Why there is no session with the Realtime server."""

from gateway.realtime.errors import RealtimeError


class BackendError(Exception):
    """The Realtime server could not be reached, refused, or broke the protocol.

    Args:
        message: it holds no secret, but may name a host, and when `refused` it may quote what a
            client said. A log takes `logged()`.
        status: of the HTTP answer, where the handshake was answered with anything but a WebSocket.
        retry_after: the Retry-After of that answer, as it came.
        retry_after_s: the seconds that it means, where that can be read.
        refused: what was asked for cannot be: the server answered our config with an `error`, and
            `message`, `code` and `param` are its own.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: str | None = None,
        retry_after_s: float | None = None,
        code: str | None = None,
        param: str | None = None,
        refused: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.retry_after_s = retry_after_s
        self.code = code
        self.param = param
        self.refused = refused

    def logged(self) -> str:
        """The text for a log, without the words of a client."""
        if not self.refused:
            return str(self)
        return " ".join(filter(None, ("refused:", self.code or "no code", self.param)))

    def told(self) -> RealtimeError:
        """What a client hears: its own mistake as a 400, the server's absence as a 502. It names
        no host, address or key of ours."""
        if self.refused:
            return RealtimeError(str(self), code=self.code, param=self.param)
        detail = "could not be reached" if self.status is None else f"answered {self.status}"
        return RealtimeError(
            f"The Realtime backend {detail}.",
            code="backend_unavailable",
            kind="server_error",
            status=502,
        )
