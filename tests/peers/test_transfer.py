"""Transfers by REFER: peers that go, that come back, that refuse, that say nothing, that are lied
to; and two real telephones."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest

from tests.calls.test_targets import HOSTILE
from tests.peers.audio import silence, spoken, voiced, write_wav
from tests.peers.baresip import Baresip, need_baresip
from tests.peers.calls_api import Answer, CallsApi
from tests.peers.gateway import (
    HOST,
    Footprint,
    GatewayProcess,
    LogLine,
    eventually,
    free_port,
    free_range,
)
from tests.peers.line import RealtimeThread
from tests.peers.media import Phone
from tests.peers.sipp import Sipp, need_sipp
from tests.peers.wire import Caller, UdpWire, offer
from tests.sdk.model import model

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.usefixtures("meanwhile")]

TARGET, MASKED = "tel:+15550001111", "tel:…1111"
ANOTHER = "tel:+15550002222"
TIMEOUT_S = 2
FORBIDDEN = (
    *("tel:+19005551234", "tel:+882161234567", "tel:+870123456789", "tel:+1-900-555-1234"),
    *("tel:9005551234", "tel:0119005551234", "tel:5551234;phone-context=+1555"),
    *("tel:5550001;phone-context=+1", f"sip:agent@{HOST}", f"sip:+15550001111@{HOST}"),
    *("sip:+15550001111@evil.example", "sip:b@localhost", "SIP:b@EVIL.example"),
)
"""Well-formed, and not what the operator lets through."""


@dataclass
class Desk:
    """A gateway that transfers its callers."""

    gateway: GatewayProcess
    directory: Path
    baseline: Footprint
    phone_port: int
    """The only SIP address that it may transfer to."""

    @property
    def api(self) -> CallsApi:
        return CallsApi(self.gateway)

    def caller(self, then: str, *, transport: str = "udp", **fill: str) -> "Referred":
        """A SIPp caller who is answered and heard, and will be referred to `TARGET`."""
        mark = self.gateway.mark()
        caller = Sipp(
            "referred",
            self.gateway.sip,
            self.directory,
            transport="t1" if transport == "tcp" else "u1",
            media_port=free_range(4),
            timeout_s=40,
            options=("-rtp_echo", *(["-nr"] if "FIRST" in fill else [])),
            fill={
                **{"THEN": then, "ANSWER": "202", "OUTCOME": "200", "FIRST": "takes"},
                **{"REFER_TO": TARGET.replace("+", r"\+"), **fill},
            },
        )
        call_id = self.gateway.wait_for("call.answered", 10, mark)["call_id"]
        assert self.api.hears_and_is_heard(call_id)
        return Referred(self, caller, call_id)

    def ended(self, call_id: str) -> LogLine:
        return self.gateway.wait_for("call.ended", 10, call_id=call_id)


@dataclass
class Referred:
    """A call that is transferred. Use as a context manager."""

    desk: Desk
    peer: Sipp
    call_id: str

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.peer.__exit__(exc_type, exc, traceback)

    def refer(self) -> Answer:
        """Ask for the transfer."""
        return self.desk.api.refer(self.call_id, TARGET)

    def outcome(self) -> tuple[str, int | None]:
        """As the log tells it, and the API must agree."""
        line = self.desk.gateway.wait_for("transfer.result", 10, call_id=self.call_id)
        outcome = line["result"], line["sip_status"]
        told = {"target": MASKED, "result": outcome[0], "sip_status": outcome[1], "how": "refer"}
        assert self.desk.api.summary(self.call_id)["transfer"] == told
        return outcome

    def assert_gone(self) -> None:
        """The call is over as transferred, and asking again says what is true."""
        api, record = self.desk.api, self.desk.ended(self.call_id)
        assert (record["reason"], record["transfer"]) == ("transferred", "transferred")
        assert (record["direction"], record["sip_status"]) == ("inbound", None)
        assert api.until(self.call_id, "ended")["reason"] == "transferred"
        assert api.refer(self.call_id, TARGET).status == 200
        assert api.refer(self.call_id, ANOTHER).error["code"] == "call_id_not_found"
        assert api.hang_up(self.call_id).error["code"] == "call_id_not_found"
        self.assert_caller_went_well()

    def assert_back(self, result: str) -> None:
        """The caller is with us, heard and hearing, until we hang up."""
        api = self.desk.api
        assert api.summary(self.call_id)["state"] == "active"
        assert api.hears_and_is_heard(self.call_id)
        assert api.hang_up(self.call_id).status == 200
        record = self.desk.ended(self.call_id)
        assert (record["reason"], record["transfer"]) == ("hangup", result)
        self.assert_caller_went_well()

    def assert_caller_went_well(self) -> None:
        result = self.peer.result()
        assert (result.status, result.successful, result.failed) == (0, 1, 0), str(result)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    need_sipp()
    directory, phone_port = tmp_path_factory.mktemp("desk"), free_port()
    env = {
        "GATEWAY_CALLS_TRANSFER_TIMEOUT_S": str(TIMEOUT_S),
        "GATEWAY_CALLS_TARGETS": f"tel:+1555,sip:*@{HOST}:{phone_port}",
    }
    with RealtimeThread(model) as realtime, GatewayProcess(realtime.url, env) as gateway:
        desk = Desk(gateway, directory, gateway.footprint(), phone_port)
        with desk.caller("leaves") as first:  # what is made once and kept is there from here on
            first.refer()
            first.assert_gone()
        desk.baseline = gateway.footprint()
        yield desk


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_the_target_answers(desk: Desk, transport: str) -> None:
    with desk.caller("reports", transport=transport) as call:
        answer = call.refer()
        assert (answer.status, answer.body) == (200, {})
        assert call.outcome() == ("transferred", 200)
        call.assert_gone()


@pytest.mark.parametrize(
    ("transport", "status", "result"),
    [
        ("udp", 486, "busy"),
        ("tcp", 600, "busy"),
        ("udp", 603, "declined"),
        ("tcp", 403, "declined"),
        ("udp", 480, "no_answer"),
        ("tcp", 487, "no_answer"),
        ("udp", 404, "unreachable"),
        ("tcp", 503, "unreachable"),
    ],
)
def test_the_target_does_not_answer(desk: Desk, transport: str, status: int, result: str) -> None:
    with desk.caller("reports", transport=transport, OUTCOME=str(status)) as call:
        assert call.refer().status == 200
        assert call.outcome() == (result, status)
        call.assert_back(result)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *[(405, "transfer_unsupported"), (501, "transfer_unsupported")],
        *[(401, "transfer_refused"), (603, "transfer_refused")],
    ],
)
def test_the_caller_refuses(desk: Desk, status: int, code: str) -> None:
    with desk.caller("waits", ANSWER=str(status)) as call:
        answer = call.refer()
        assert answer.status == 400
        error = answer.error
        assert (error["code"], error["param"]) == (code, "target_uri")
        assert str(status) in error["message"]
        assert call.outcome() == ("refused", status)
        call.assert_back("refused")


def test_the_caller_is_no_more(desk: Desk) -> None:
    """481 means that there is no call on the other side (RFC 3261 section 12.2.1.2)."""
    with desk.caller("waits", ANSWER="481") as call:
        answer = call.refer()
        assert (answer.status, answer.error["code"]) == (400, "transfer_refused")
        assert call.outcome() == ("refused", 481)
        record = desk.ended(call.call_id)
        assert (record["sip_status"], record["transfer"]) == (481, "refused")
        assert record["reason"] == "refused"
        call.assert_caller_went_well()


def test_a_caller_who_says_nothing_to_the_refer_is_kept(desk: Desk) -> None:
    with desk.caller("waits", ANSWER="408") as call:
        answer = call.refer()
        assert (answer.status, answer.error["code"]) == (400, "transfer_timeout")
        assert call.outcome() == ("timeout", 408)
        call.assert_back("timeout")


def test_a_lost_refer_is_sent_again(desk: Desk) -> None:
    with desk.caller("reports", FIRST="misses") as call:
        assert call.refer().status == 200
        assert call.outcome() == ("transferred", 200)
        call.assert_gone()


def test_nothing_is_heard_of_the_target(desk: Desk) -> None:
    with desk.caller("waits") as call:
        assert call.refer().status == 200
        assert desk.api.summary(call.call_id)["state"] == "transferring"
        pending = {"target": MASKED, "result": "pending", "sip_status": None, "how": "refer"}
        assert desk.api.summary(call.call_id)["transfer"] == pending
        assert desk.api.refer(call.call_id, TARGET).status == 200  # it is under way
        error = desk.api.refer(call.call_id, ANOTHER).error
        assert error["code"] == "transfer_in_progress"
        assert call.outcome() == ("timeout", None)
        call.assert_back("timeout")


def test_the_caller_leaves_without_a_report(desk: Desk) -> None:
    with desk.caller("leaves") as call:
        assert call.refer().status == 200
        assert call.outcome() == ("transferred", None)
        call.assert_gone()


def test_no_hostile_target_reaches_the_wire(desk: Desk) -> None:
    gateway, api = desk.gateway, desk.api
    assert len(HOSTILE) + len(FORBIDDEN) > 60
    with Phone() as phone, Caller(UdpWire(gateway.sip), gateway.sip) as caller:
        mark = gateway.mark()
        phone.talk_to(caller.call(offer(phone.port)).media)
        call_id = gateway.wait_for("call.answered", since=mark)["call_id"]
        for target in (*HOSTILE, *FORBIDDEN):
            code = "target_not_allowed" if target in FORBIDDEN else "invalid_value"
            for name, answer in (
                ("target_uri", api.refer(call_id, target)),
                ("to", api.dial(target)),
            ):
                assert answer.status == 400, (target, answer)
                error = (answer.error["code"], answer.error["param"])
                assert error == (code, name), (target, answer)
        assert caller.silent_for(0.3)
        # The line works all the same: the next REFER is the first.
        assert api.hears_and_is_heard(call_id)
        with ThreadPoolExecutor(1) as clerk:
            asked = clerk.submit(api.refer, call_id, TARGET)
            refer = caller.wait("REFER", 0)
            caller.answer(refer, 603, "Decline")
            assert asked.result().error["code"] == "transfer_refused"
        assert refer.header("refer-to") == f"<{TARGET}>" and refer.header("cseq") == "1 REFER"
        caller.hang_up()
        record = desk.ended(call_id)
    assert record["reason"] == "remote_bye"
    assert [line["event"] for line in gateway.lines("call.outgoing", mark)] == []
    assert len(gateway.lines("transfer.result", mark)) == 1


@pytest.mark.parametrize(("status", "result"), [(200, "transferred"), (486, "busy")])
def test_those_who_asked_are_told_the_outcome_once(desk: Desk, status: int, result: str) -> None:
    with desk.caller("reports", OUTCOME=str(status)) as call, ExitStack() as stack:
        asked, unasked, listening = (
            stack.enter_context(desk.api.sideband(call.call_id, extensions))
            for extensions in ("events", "", "audio")
        )
        assert call.refer().status == 200
        assert call.outcome() == (result, status)
        if result != "transferred":
            desk.api.hang_up(call.call_id)
        for sideband in (asked, unasked, listening):
            sideband.until_closed()
            assert sideband.close_code == 1000
            assert sideband.events[0]["type"] == "session.created"
        call.assert_caller_went_well()
    own = [event for event in asked.events if event["type"].startswith("gateway.")]
    assert [event["type"] for event in own] == ["gateway.transfer.ended"]
    assert (own[0]["result"], own[0]["sip_status"]) == (result, status) and own[0]["event_id"]
    for sideband in (unasked, listening):
        assert not [event for event in sideband.events if event["type"].startswith("gateway.")]


def test_one_telephone_is_transferred_to_another(desk: Desk, tmp_path: Path) -> None:
    need_baresip()
    gateway, api = desk.gateway, desk.api
    speaking, silent = tmp_path / "speaking.wav", tmp_path / "silent.wav"
    words = spoken("I was told that you can help me.", tmp_path)
    write_wav(speaking, np.tile(words, 10))
    write_wav(silent, silence(30))
    kind: dict[str, Any] = {"transport": "udp", "codec": "PCMU"}
    mark = gateway.mark()
    with (
        Baresip(tmp_path / "b", **kind, microphone=silent, port=desk.phone_port) as second,
        Baresip(
            tmp_path / "a",
            **kind,
            microphone=speaking,
            dial=f"sip:agent@{HOST}:{gateway.sip_port}",
        ) as first,
    ):
        call_id = gateway.wait_for("call.answered", 10, mark)["call_id"]
        assert api.hears_and_is_heard(call_id)
        assert api.refer(call_id, second.uri).status == 200
        told = gateway.wait_for("transfer.result", 10, call_id=call_id)
        assert (told["result"], told["sip_status"]) == ("transferred", 200)
        assert desk.ended(call_id)["reason"] == "transferred"
        # They talk to each other, without us.
        assert eventually(lambda: second.heard_s > 2, 15)
        first.stop()
        recording = second.stop()
    assert "Call established" in recording.output
    assert voiced(recording.heard)


def test_nothing_is_left_of_any_call(desk: Desk) -> None:
    desk.gateway.wait_for_footprint(desk.baseline, 5, "sip_transactions", "sip_dialogs")
    desk.gateway.check()
