"""The one error of the SIP room: it knows the answer that it deserves."""

from gateway.sip.message import Request


class SipError(Exception):
    """A message that cannot be served.

    `request` is the request as far as it could be understood, when an answer can be sent at all
    (it is a request and has a Via); None when the only thing left is to drop the message. Its
    header values are safe to echo but may be malformed, doubled or missing: take the first of
    each with `Headers.get`. An ACK is carried too and, as ever, must not be answered.
    """

    def __init__(self, status: int, reason: str, request: Request | None = None) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.reason = reason
        self.request = request
