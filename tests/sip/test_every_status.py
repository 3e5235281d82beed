"""The refusals that depend on more than the message; those on sight are in `test_agent_answers`.

Together they are the list of reliability 2.1: each refused message has the RFC's status (R20).
"""

from collections.abc import Callable

import pytest

from gateway.sip.message import Response
from tests.sip.raw import PEER, SDP, Desk, request

pytestmark = pytest.mark.pure


def spent_line() -> Response:
    return only(Desk(), request("INVITE", uri=f"sip:{'a' * 9000}@h", body=SDP))


def without_100rel() -> Response:
    return only(Desk(reliable_provisionals="required"), request("INVITE", body=SDP))


def merged() -> Response:
    desk = Desk()
    desk.incoming()
    return only(desk, request("INVITE", body=SDP, branch="other-way"))


def cancelled() -> Response:
    desk = Desk()
    desk.incoming()
    to_cancel, to_invite = desk.send(request("CANCEL"))
    assert isinstance(to_cancel, Response) and to_cancel.status == 200
    assert isinstance(to_invite, Response)
    return to_invite


def rejected(status: int) -> Response:
    desk = Desk()
    dialog_id = desk.incoming()
    desk.agent.reject(dialog_id, status, desk.now)
    (answer,) = desk.drain()
    assert isinstance(answer, Response)
    return answer


def glare() -> Response:
    desk = Desk()
    dialog_id = desk.confirmed()
    desk.agent.reinvite(dialog_id, SDP, desk.now)
    desk.drain()
    return only(desk, desk.within("INVITE", dialog_id, cseq=5, body=SDP))


def overlapping() -> Response:
    desk = Desk()
    dialog_id = desk.confirmed()
    desk.send(desk.within("INVITE", dialog_id, cseq=5, body=SDP))
    return only(desk, desk.within("INVITE", dialog_id, cseq=6, branch="second", body=SDP))


def lower_number() -> Response:
    desk = Desk()
    dialog_id = desk.confirmed()
    desk.send(desk.within("OPTIONS", dialog_id, cseq=9))
    return only(desk, desk.within("OPTIONS", dialog_id, cseq=8, branch="lower"))


def draining() -> Response:
    desk = Desk()
    desk.agent.available = False
    return only(desk, request("OPTIONS"))


def crowded() -> Response:
    desk = Desk(pending=1)
    desk.incoming()
    return only(desk, request("INVITE", body=SDP, branch="2", call_id="2"))


def unproven() -> Response:
    return only(Desk(allow=(), users={"a": "b"}), request("INVITE", body=SDP))


def not_listed() -> Response:
    return only(Desk(allow=()), request("INVITE", body=SDP))


def only(desk: Desk, data: bytes) -> Response:
    (answer,) = desk.send(data, PEER)
    assert isinstance(answer, Response)
    return answer


CASES: list[tuple[Callable[[], Response], int, tuple[str, ...]]] = [
    (unproven, 401, ("WWW-Authenticate",)),
    (not_listed, 403, ()),
    (spent_line, 414, ()),
    (without_100rel, 421, ("Require",)),
    (merged, 482, ()),
    (cancelled, 487, ()),
    (lambda: rejected(486), 486, ()),
    (lambda: rejected(488), 488, ()),
    (glare, 491, ()),
    (overlapping, 500, ("Retry-After",)),
    (lower_number, 500, ("Retry-After",)),
    (draining, 503, ("Retry-After",)),
    (crowded, 503, ("Retry-After",)),
    (lambda: rejected(603), 603, ()),
    (lambda: rejected(606), 606, ()),
]


@pytest.mark.parametrize(("scene", "status", "headers"), CASES)
def test_every_refusal(
    scene: Callable[[], Response], status: int, headers: tuple[str, ...]
) -> None:
    answer = scene()
    assert answer.status == status
    assert all(answer.headers.get(name) for name in headers)
    assert ";tag=" in (answer.headers.get("To") or "")
