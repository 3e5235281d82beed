"""Why a client's event was refused, in the words of the protocol.

An `error` event does not end the session. It echoes the client's `event_id`, because clients wait
for the outcome of what they sent by that id.
"""


class RequestError(Exception):
    """A client event that cannot be served; becomes an `error` event.

    `code` is one of the protocol's error codes or None, `param` the path of the offending field.
    """

    def __init__(self, code: str | None, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def missing(param: str) -> RequestError:
    return RequestError(
        "missing_required_parameter", f"Missing required parameter: '{param}'.", param
    )


def invalid(param: str, value: object, expected: str) -> RequestError:
    shown = repr(value)
    if len(shown) > 80:
        shown = shown[:77] + "..."
    return RequestError("invalid_value", f"Invalid value: {shown}. Expected {expected}.", param)
