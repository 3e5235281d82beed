"""Two legs in one call: joined, swapped, taken from others; what is heard, and what is left."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from gateway.audio.formats import PCM24K, PCMA
from gateway.calls.commands import Dial, Refer
from gateway.calls.line import Line as PhoneLine
from gateway.calls.line import LineConfig
from gateway.calls.others import Dials
from gateway.calls.policy import CallPolicy
from gateway.calls.registry import Registry
from gateway.calls.sessions import Sources
from gateway.legs.leg import (
    CallOrder,
    DtmfIn,
    Headers,
    LegAnswered,
    LegEnded,
    LegError,
    LegRinging,
    MediaStats,
    ReferAnswered,
    ReferAsked,
    ReferProgress,
)
from gateway.realtime.errors import RealtimeError
from tests.calls.fakes import SILENCE, FakeBackend, FakeCallee, FakeLeg, FakePort, settle
from tests.calls.line import VOICE, Line, created, delta, done, line, record_of

pytestmark = pytest.mark.loop

TARGET = "tel:+4930123456"
AGENT = VOICE[::-1]
LEAVE = CallPolicy(greet=False, bridge="leave")
LISTEN = CallPolicy(greet=False, bridge="listen")


async def refer(call: Line, callee: FakeCallee | LegError) -> "asyncio.Task[None]":
    """The application transfers a caller whose telephone knows no REFER."""
    call.others.callees.append(callee)
    order = asyncio.ensure_future(call.call.command(Refer(TARGET)))
    await settle()
    call.leg.emit(ReferAnswered(405))
    await settle()
    return order


async def bridge(call: Line, callee: FakeCallee | None = None) -> FakeCallee:
    callee = callee or FakeCallee()
    await (await refer(call, callee))
    callee.emit(LegAnswered())
    await settle()
    return callee


def say(leg: FakeLeg, *frames: bytes) -> None:
    assert leg.port.sink is not None
    for frame in frames:
        leg.port.sink(frame)


def arrive(leg: FakeLeg, *frames: bytes) -> None:
    """Packets come, and are heard."""
    counted = leg.port.counted
    leg.port.counted = replace(counted, rtp_received=counted.rtp_received + len(frames))
    say(leg, *frames)


def hear(leg: FakeLeg, frames: int = 1) -> list[bytes]:
    leg.port.sent.clear()
    leg.port.tick(frames)
    return list(leg.port.sent)


async def test_both_hear_each_other_and_the_agent_is_gone() -> None:
    async with line(policy=LEAVE) as call:
        session = call.session
        await session.say(created(), delta(VOICE * 50))
        callee = await bridge(call)
        assert session.closed
        assert hear(call.leg) == [SILENCE]  # what the agent was saying is not said to its end
        say(call.leg, VOICE, VOICE)
        assert hear(callee) == [VOICE]
        assert callee.port.sink is not None
        reply = VOICE[::-1]
        say(callee, reply, reply)
        assert hear(call.leg) == [reply]
        assert session.audio == b""
        assert call.call.record.summary()["state"] == "bridged"
        summary = call.call.record.summary()["transfer"]
        assert summary == {
            "target": "tel:…3456",
            "result": "transferred",
            "sip_status": 200,
            "how": "bridge",
        }
        callee.emit(LegEnded("remote_bye"))
        record = await record_of(call)
    assert (record["reason"], record["transfer"], record["bridged"]) == (
        *("transferred", "transferred"),
        True,
    )
    assert call.leg.done[-2:] == ["hang_up", "close"] and callee.done[-1] == "close"


async def test_the_record_of_a_bridge_says_with_whom() -> None:
    async with line(policy=LEAVE) as call:
        callee = FakeCallee()
        callee.sip_call_id, callee.callee = "c" * 300, "sip:+4930123456@carrier.example"
        await bridge(call, callee)
        call.leg.emit(LegEnded("remote_bye"))
        record = await record_of(call)
    second = record["second"]
    assert 0 <= second.pop("duration_s") < 1
    assert second == {"sip_call_id": "c" * 256, "to": "sip:…3456@carrier.example"}
    assert record["sip_call_id"] == call.leg.sip_call_id
    async with line(policy=LEAVE) as call:
        other = FakeLeg()
        call.others.legs["rtc_2"] = other
        order = asyncio.ensure_future(call.call.command(Refer("", "rtc_2")))
        await settle()
        call.leg.emit(ReferAnswered(501))
        await order
        other.emit(LegEnded("remote_bye"))
        record = await record_of(call)
    assert record["second"]["to"] == "sip:…3456@example.com"  # it had called us


async def test_an_agent_that_listens_hears_both_and_is_not_heard() -> None:
    async with line(policy=LISTEN) as call:
        callee = await bridge(call)
        before = len(call.session.audio)
        for _ in range(10):
            say(call.leg, VOICE)
            say(callee, SILENCE)
        heard = call.session.audio[before:]
        assert len(heard) == 10 * len(VOICE)
        assert not call.session.closed
        await call.session.say(created(), delta(AGENT * 10), done())
        assert AGENT not in hear(callee, 10) and AGENT not in hear(call.leg, 10)
        assert "response.done" in call.control.types()  # a client sees what it makes of it
        call.leg.emit(LegEnded("remote_bye"))
        record = await record_of(call)
    assert (record["reason"], record["bridged"]) == ("remote_bye", True)
    assert callee.done[-1] == "close" and call.session.closed


async def test_a_listener_that_is_lost_is_replaced_and_the_two_talk_on() -> None:
    async with line(policy=LISTEN) as call:
        callee = await bridge(call)
        await call.session.lose()
        await call.backend.opened(2)
        say(call.leg, VOICE, VOICE)
        say(callee, SILENCE, SILENCE)
        assert hear(callee, 1) == [VOICE]
        assert len(call.session.audio) >= 2 * len(VOICE)


@pytest.mark.parametrize("audio_format", [PCMA, PCM24K])
async def test_legs_of_other_formats_are_joined_too(audio_format: Any) -> None:
    async with line(policy=LEAVE, leg=FakeLeg(audio_format)) as call:
        callee = await bridge(call)
        # Asked for in the same law where there is one: then nothing has to be translated.
        assert call.others.orders[0].law == ("pcma" if audio_format == PCMA else "pcmu")
        frame = audio_format.silence(audio_format.rate_hz // 50)
        say(call.leg, frame, frame, frame)
        assert [len(piece) for piece in hear(callee, 2)] == [160, 160]
        say(callee, SILENCE, SILENCE, SILENCE)
        call.leg.port.sent.clear()
        piece = call.leg.port.playout.background
        assert piece is not None and len(piece.next(len(frame))) == len(frame)


async def test_the_caller_hears_that_it_rings_and_the_agent_over_it() -> None:
    async with line(policy=LEAVE) as call:
        callee = FakeCallee()
        await (await refer(call, callee))
        callee.emit(LegRinging(180))
        assert call.leg.port.playout.background is not None
        await call.session.say(created(), delta(VOICE))
        assert hear(call.leg) == [VOICE]
        callee.emit(LegEnded("refused", 486))
        await settle()
        assert call.leg.port.playout.background is None
        assert callee.done == ["dial", "hang_up", "close"]
        assert call.call.record.summary()["state"] == "active"
        # The caller is the agent's again.
        say(call.leg, VOICE)
        assert call.session.audio[-160:] == VOICE
        (told,) = [one for one in call.seen if one["type"] == "response.created"]
        assert told


async def test_what_the_target_says_before_it_answers_is_heard_instead_of_our_ringing() -> None:
    async with line(policy=LEAVE) as call:
        callee = FakeCallee()
        await (await refer(call, callee))
        callee.emit(LegRinging(183))
        ringing = call.leg.port.playout.background
        assert ringing is not None
        say(callee, SILENCE, SILENCE)  # so a port tells that time passes, and nothing comes
        (rings,) = hear(call.leg)
        assert rings not in (VOICE, SILENCE)
        arrive(callee, VOICE, VOICE)
        assert VOICE in hear(call.leg, 2)
        callee.emit(LegRinging(180))  # and goes on with it
        arrive(callee, VOICE)
        assert hear(call.leg) == [VOICE]
        await call.session.say(created(), delta(AGENT))
        assert hear(call.leg) == [AGENT]
        callee.emit(LegEnded("refused", 486))
        await settle()
        assert call.leg.port.playout.background is None
        assert callee.done == ["dial", "hang_up", "close"]


async def test_the_headers_of_a_transfer_are_those_of_the_call_to_the_target() -> None:
    async with line(policy=LEAVE) as call:
        headers = (("X-Account", "7"),)
        call.others.callees.append(FakeCallee())
        order = asyncio.ensure_future(call.call.command(Refer(TARGET, headers=headers)))
        await settle()
        call.leg.emit(ReferAnswered(405))
        await order
        assert call.others.orders[0].headers == headers


async def test_a_target_that_cannot_be_called_is_told_to_the_application() -> None:
    async with line(policy=LEAVE) as call:
        order = await refer(call, LegError(403, "not_allowed"))
        with pytest.raises(RealtimeError) as raised:
            await order
        assert (raised.value.code, raised.value.param) == ("not_allowed", "target_uri")
        assert call.call.record.summary()["transfer"]["result"] == "unreachable"


async def test_people_hear_music_on_hold_and_an_agent_who_listens_does_not() -> None:
    async with line(policy=LEAVE) as call:
        callee = await bridge(call)
        assert call.leg.port.hears_music and callee.port.hears_music
    async with line(policy=LISTEN) as call:
        callee = await bridge(call)
        assert not (call.leg.port.hears_music or callee.port.hears_music)


async def test_keys_pass_through_a_bridge() -> None:
    async with line(policy=LEAVE) as call:
        callee = await bridge(call)
        call.leg.emit(DtmfIn("5", 1))
        callee.emit(DtmfIn("7", 1))
        assert ("press", "5") in callee.done and ("press", "7") in call.leg.done


async def test_a_transfer_that_the_second_leg_asks_for_is_refused_there() -> None:
    async with line(policy=LEAVE) as call:
        callee = await bridge(call)
        callee.emit(ReferAsked("9", "tel:+1"))
        assert callee.done[-1] == ("answer_refer", "9", 603)
        assert "answer_refer" not in [done[0] for done in call.leg.done]


async def test_a_caller_who_leaves_while_it_rings_leaves_nothing() -> None:
    async with line(policy=LEAVE) as call:
        callee = FakeCallee()
        await (await refer(call, callee))
        call.leg.emit(LegEnded("remote_bye"))
        record = await record_of(call)
    assert (record["reason"], record["transfer"]) == ("remote_bye", "timeout")
    assert callee.done == ["dial", "close"] and call.leg.done[-1] == "close"


class StayingLeg(FakeLeg):
    """A caller whose leg takes a while to be freed."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = asyncio.Event()

    async def close(self) -> None:
        await self.gone.wait()
        await super().close()


async def test_a_second_leg_may_end_while_the_call_is_freed() -> None:
    first = StayingLeg()
    with capture_logs() as log:
        async with line(leg=first, policy=LEAVE) as call:
            callee = await bridge(call)
            call.call.hang_up("hangup")
            await settle()
            assert callee.done == ["dial"]
            callee.emit(LegEnded("remote_bye"))
            first.gone.set()
            record = await record_of(call)
    assert record["reason"] == "hangup" and callee.done == ["dial", "close"]
    assert "call.failed" not in [entry["event"] for entry in log]


class StuckLeg(FakeLeg):
    """One that cannot be freed."""

    async def close(self) -> None:
        await super().close()
        raise OSError("a defect")


async def test_a_leg_that_cannot_be_freed_keeps_no_other() -> None:
    office = Office(LEAVE, first=StuckLeg)
    call_id, first = await office.caller("a")
    order = asyncio.ensure_future(office.line.command(call_id, Refer(TARGET)))
    await settle()
    first.emit(ReferAnswered(405))
    await order
    (callee,) = office.callees
    callee.emit(LegAnswered())
    with capture_logs() as log:
        await office.close()
    assert first.done[-1] == callee.done[-1] == "close"
    assert office.words() == [("drain", "transferred")] and len(office.registry) == 0
    names = [entry["event"] for entry in log]
    assert names.count("call.failed") == names.count("call.ended") == 1
    assert office.backend.session is not None and office.backend.session.closed


async def test_a_call_that_is_torn_down_leaves_its_record() -> None:
    office = Office(LEAVE)
    call_id, first = await office.caller("a")
    (task,) = [one for one in asyncio.all_tasks() if one.get_name() == f"call {call_id}"]
    task.cancel()
    await settle()
    assert first.done[-1] == "close" and len(office.registry) == 0
    assert [record["direction"] for record in office.records] == ["inbound"]


async def test_a_bridge_takes_the_leg_of_another_call() -> None:
    async with line(policy=LEAVE) as call:
        other = FakeLeg()
        call.others.legs["rtc_2"] = other
        order = asyncio.ensure_future(call.call.command(Refer("", "rtc_2")))
        await settle()
        assert call.leg.done[-1] == ("refer", "", other)
        call.leg.emit(ReferAnswered(501))
        await order
        assert [told.word for told in call.others.told] == ["offered", "kept"]
        say(other, VOICE, VOICE)
        assert hear(call.leg) == [VOICE]
        other.emit(LegEnded("remote_bye"))
        record = await record_of(call)
    assert record["reason"] == "transferred" and other.done[-1] == "close"


async def test_whoever_the_other_side_names_has_its_place() -> None:
    policy = CallPolicy(greet=False, accepts_refer=True, targets=("tel:+49",))
    async with line(policy=policy) as call:
        first, callee = call.leg, FakeCallee()
        call.others.callees.append(callee)
        first.emit(ReferAsked("9", TARGET, "<sip:alice@example.com>"))
        await settle()
        order = CallOrder(TARGET, referred_by="<sip:alice@example.com>")
        assert call.others.orders == [order]
        assert ("answer_refer", "9", 202) in first.done
        await call.session.say(created(), delta(VOICE * 2))
        assert hear(first) == [VOICE]  # nothing changes before it is answered
        callee.emit(LegAnswered())
        await settle()
        assert first.done[-3:] == [("report_refer", "9", 200, True), "hang_up", "close"]
        assert call.call.leg is callee
        say(callee, VOICE)
        assert call.session.audio == VOICE
        await call.session.say(done(), created("resp_2"), delta(VOICE, "resp_2", "item_2"))
        assert hear(callee) == [VOICE]
        call.call.hang_up("hangup")
        record = await record_of(call)
    assert record["reason"] == "hangup" and callee.done[-2:] == ["hang_up", "close"]


async def test_the_record_is_of_whom_the_call_is_with_and_counts_all() -> None:
    async with line(policy=CallPolicy(greet=False)) as call:
        first, second = call.leg, FakeLeg()
        second.sip_call_id, second.codec = "2@example.com", "pcma"
        second.caller, second.callee = "sip:+4930654321@example.com", "sip:desk@example.com"
        hear(first, 3)
        first.port.counted = MediaStats(100, 0, 4, 10.0, 4.0)
        call.call.take_place(second)
        await settle()
        first.port.counted = MediaStats(999, 0, 999, 99.0, 1.0)  # that is no part of the call
        summary = call.call.record.summary()
        assert (summary["counters"]["rtp_received"], summary["counters"]["mos"]) == (100, 4.0)
        hear(second, 2)
        second.port.counted = MediaStats(300, 0, 1, 2.0, 4.4)
        summary = call.call.record.summary()
        assert summary["from"] == "sip:…4321@example.com"
        assert summary["to"] == "sip:desk@example.com"
        second.emit(LegEnded("remote_bye"))
        record = await record_of(call)
    assert (record["sip_call_id"], record["codec"]) == ("2@example.com", "pcma")
    assert record["direction"] == "inbound" and record["second"] is None
    assert (record["rtp_received"], record["rtp_sent"], record["rtp_lost"]) == (400, 5, 5)
    assert (record["jitter_ms"], record["mos"]) == (4.0, 4.3)


async def test_a_caller_takes_the_place_of_the_other_side() -> None:
    async with line(policy=CallPolicy(greet=False), leg=FakeLeg(PCMA)) as call:
        first, second = call.leg, FakeLeg()
        await call.session.say(created(), delta(bytes(160)))
        call.call.take_place(second)
        await settle()
        assert second.done == ["answer"] and first.done[-2:] == ["hang_up", "close"]
        second.emit(LegAnswered())
        say(second, SILENCE)
        assert call.session.audio == PCMA.silence(160)  # in the law that the session was told
        first.emit(LegEnded("local_bye"))
        assert not call.task.done()
        second.emit(LegEnded("remote_bye"))
        record = await record_of(call)
    assert record["reason"] == "remote_bye" and second.done[-1] == "close"


class SlowLeg(FakeLeg):
    """A caller whose media takes a while to open."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = asyncio.Event()

    async def answer(self, headers: Headers = ()) -> FakePort:
        await self.ready.wait()
        return await super().answer(headers)


async def test_one_who_takes_a_place_is_in_nobodys_way_meanwhile() -> None:
    policy = CallPolicy(greet=False, bridge="leave", accepts_refer=True, targets=("tel:+49",))
    async with line(policy=policy) as call:
        first, second = call.leg, SlowLeg()
        call.call.take_place(second)
        await settle()
        with pytest.raises(RealtimeError) as raised:
            await call.call.command(Refer(TARGET))
        assert raised.value.code == "transfer_in_progress"
        first.emit(ReferAsked("9", TARGET))
        assert first.done[-1] == ("answer_refer", "9", 491)
        second.ready.set()
        await settle()
        assert second.done == ["answer"] and call.call.leg is second
        second.emit(LegAnswered())
        second.emit(ReferAsked("9", "tel:+1"))
        assert second.done[-1] == ("answer_refer", "9", 603)
        second.emit(LegEnded("remote_bye"))
        assert (await record_of(call))["reason"] == "remote_bye"


async def test_one_who_leaves_before_it_has_a_place_leaves_the_call_as_it_was() -> None:
    async with line(policy=LEAVE) as call:
        second = SlowLeg()
        call.call.take_place(second)
        await settle()
        second.emit(LegEnded("cancelled"))
        second.ready.set()
        await settle()
        assert "close" in second.done and call.call.leg is call.leg
        await bridge(call)
        assert call.call.record.summary()["state"] == "bridged"


async def test_a_caller_who_cannot_be_answered_takes_nobodys_place() -> None:
    async with line() as call:
        second = FakeLeg(answer_error=LegError(503, "no_media_port"))
        call.call.take_place(second)
        await settle()
        assert second.done == [("reject", 503, None), "hang_up", "close"]
        assert call.call.leg is call.leg and not call.task.done()


# Calls of one line.


class Office:
    """A line, and whom it calls."""

    def __init__(
        self,
        policy: CallPolicy,
        targets: tuple[str, ...] = (),
        first: type[FakeLeg] = FakeLeg,
    ) -> None:
        self._leg = first
        self.backend = FakeBackend()
        self.registry = Registry(10, lambda record: self.records.append(record))
        self.records: list[dict[str, Any]] = []
        self.callees: list[FakeCallee] = []
        dials: Dials = self._dial
        self.line = PhoneLine(
            LineConfig(policy, targets=targets),
            self.registry,
            Sources(self.backend),
            dials,
            lambda _: FakeLeg(),  # type: ignore[arg-type, return-value]
            None,
            structlog.get_logger(),
        )

    def _dial(self, order: CallOrder) -> Any:
        self.callees.append(FakeCallee())
        return self.callees[-1]

    async def caller(self, dialog_id: str) -> tuple[str, FakeLeg]:
        leg = self._leg()
        leg.dialog_id = dialog_id
        self.line.take(leg, None)
        await settle()
        leg.emit(LegAnswered())
        return self.line.call_ids()[0], leg

    async def close(self) -> None:
        for call in self.registry:
            call.hang_up("drain")
        await settle()

    def words(self) -> list[tuple[str, str]]:
        return [(record["reason"], str(record["transfer"])) for record in self.records]


async def test_a_call_that_was_sent_into_another_one_ends_both() -> None:
    office = Office(CallPolicy(greet=False))
    (first_id, first), (second_id, second) = await office.caller("a"), await office.caller("b")
    order = asyncio.ensure_future(office.line.command(first_id, Refer("", second_id)))
    await settle()
    assert first.done[-1] == ("refer", second.contact, second)
    first.emit(ReferAnswered(202))
    await order
    second.emit(LegEnded("remote_bye"))  # the target has taken the call that it is sent
    first.emit(ReferProgress(200, True))
    await settle()
    assert office.words() == [("transferred", "None"), ("transferred", "transferred")]
    target = office.line.summary(first_id)["transfer"]["target"]
    assert target == "sip:…3456@192.0.2.4:5060"  # as it was sent: where the other call led to
    await office.line.command(first_id, Refer("", second_id))  # it had its effect


async def test_a_call_whose_target_never_says_goodbye_is_ended_by_us() -> None:
    office = Office(CallPolicy(greet=False))
    (first_id, first), (second_id, second) = await office.caller("a"), await office.caller("b")
    order = asyncio.ensure_future(office.line.command(first_id, Refer("", second_id)))
    await settle()
    first.emit(ReferProgress(200, True))
    await order
    await settle()
    assert "hang_up" in second.done
    assert [reason for reason, _ in office.words()] == ["transferred", "transferred"]


async def test_a_telephone_that_leaves_at_once_still_comes_into_the_other_call() -> None:
    office = Office(CallPolicy(greet=False))
    (first_id, first), (second_id, second) = await office.caller("a"), await office.caller("b")
    order = asyncio.ensure_future(office.line.command(first_id, Refer("", second_id)))
    await settle()
    first.emit(ReferAnswered(202))
    await order
    first.emit(LegEnded("remote_bye"))
    await settle()
    assert "hang_up" not in second.done  # its INVITE has not come there yet
    assert office.words() == [("transferred", "transferred")]
    assert office.line.summary(second_id)["state"] == "active"
    second.emit(LegEnded("remote_bye"))
    await settle()
    assert office.words()[1:] == [("transferred", "None")]


async def test_a_leg_is_taken_from_another_call() -> None:
    office = Office(CallPolicy(greet=False, bridge="leave"))
    (first_id, first), (second_id, second) = await office.caller("a"), await office.caller("b")
    order = asyncio.ensure_future(office.line.command(first_id, Refer("", second_id)))
    await settle()
    first.emit(ReferAnswered(405))
    await order
    await office.line.command(first_id, Refer("", second_id))  # the same again
    await settle()
    assert office.words() == [("transferred", "None")]  # the other call is over, its leg is not
    assert "close" not in second.done and "hang_up" not in second.done
    say(second, VOICE, VOICE)
    assert hear(first) == [VOICE]
    say(first, VOICE, VOICE)
    assert hear(second) == [VOICE]
    first.emit(LegEnded("remote_bye"))
    await settle()
    assert second.done[-1] == "close" and len(office.registry) == 0


async def test_what_cannot_be_sent_into_another_call_names_the_field() -> None:
    office = Office(CallPolicy(greet=False))
    (first_id, _), (second_id, second) = await office.caller("a"), await office.caller("b")
    ringing = FakeLeg()
    office.line.take(ringing, None)
    await settle()
    ringing_id = office.line.call_ids()[0]
    codes = {first_id: "same_call", "rtc_none": "call_id_not_found"}
    codes |= {ringing_id: "invalid_call_state"}
    second.kind = "webrtc"
    codes |= {second_id: "not_a_phone_call"}
    for replaces, code in codes.items():
        with pytest.raises(RealtimeError) as raised:
            await office.line.command(first_id, Refer("", replaces))
        assert (raised.value.code, raised.value.param) == (code, "replaces_call_id")
        assert raised.value.status == 400
    await office.close()


DEAR = "sip:+19005551234@gateway.example"


@pytest.mark.parametrize(
    ("contact", "code"),
    [
        (DEAR, "target_not_allowed"),
        ("sip:alice@example.com;maddr=192.0.2.9", "invalid_value"),
        ("sip:alice@example.com?Route=x", "invalid_value"),
        ("sips:alice@example.com", "invalid_value"),
        ("", "invalid_value"),
    ],
)
async def test_whoever_calls_in_names_no_target_by_its_contact(contact: str, code: str) -> None:
    office = Office(CallPolicy(greet=False), targets=("tel:+49", "sip:*@example.com"))
    (first_id, first), (second_id, second) = await office.caller("a"), await office.caller("b")
    second.contact = contact
    with pytest.raises(RealtimeError) as raised:
        await office.line.command(first_id, Refer("", second_id))
    error = raised.value
    assert (error.code, error.param, error.status) == (code, "replaces_call_id", 400)
    assert first.done == ["ring", "answer"]
    await office.close()


async def test_a_contact_is_judged_again_when_it_has_moved() -> None:
    office = Office(CallPolicy(greet=False), targets=("sip:*@example.com",))
    (first_id, first), (second_id, second) = await office.caller("a"), await office.caller("b")
    second.contact = "sip:alice@example.com:5060"
    order = asyncio.ensure_future(office.line.command(first_id, Refer("", second_id)))
    await settle()
    assert first.done[-1] == ("refer", "sip:alice@example.com:5060", second)
    first.emit(ReferAnswered(603))
    await asyncio.gather(order, return_exceptions=True)
    second.contact = DEAR
    with pytest.raises(RealtimeError) as raised:
        await office.line.command(first_id, Refer("", second_id))
    assert raised.value.code == "target_not_allowed"
    await office.close()


async def test_whom_we_called_was_judged_when_we_did() -> None:
    office = Office(CallPolicy(greet=False), targets=("tel:+49",))
    first_id, first = await office.caller("a")
    order = asyncio.ensure_future(office.line.dial(Dial(TARGET)))
    await settle()
    other_id = (await order)["id"]
    (callee,) = office.callees
    callee.emit(LegAnswered())
    callee.contact = "sip:+4930123456@carrier.example"
    refer = asyncio.ensure_future(office.line.command(first_id, Refer("", other_id)))
    await settle()
    assert first.done[-1] == ("refer", callee.contact, callee)
    first.emit(ReferAnswered(202))
    await refer
    await office.close()


async def test_a_browser_is_bridged_where_that_is_set_and_told_no_elsewhere() -> None:
    for policy, may in ((CallPolicy(greet=False), False), (LEAVE, True)):
        office = Office(policy)
        call_id, leg = await office.caller("a")
        leg.kind = "webrtc"
        order = asyncio.ensure_future(office.line.command(call_id, Refer(TARGET)))
        await settle()
        if not may:
            with pytest.raises(RealtimeError) as raised:
                await order
            assert raised.value.code == "not_a_phone_call"
        else:
            leg.emit(ReferAnswered(405))
            await order
            assert office.callees[0].done == ["dial"]
        await office.close()
        assert len(office.registry) == 0


async def test_a_caller_who_names_a_call_has_its_place_or_is_refused() -> None:
    office = Office(CallPolicy(greet=False))
    call_id, first = await office.caller("a")
    second, stray, late = FakeLeg(), FakeLeg(), FakeLeg()
    second.replaces, stray.replaces, late.replaces = "a", "nobody", "a"
    office.line.take(stray, None)
    office.line.take(second, None)
    office.line.take(late, None)
    await settle()
    assert stray.done[0] == late.done[0] == ("reject", 481, None)
    assert second.done == ["answer"] and "hang_up" in first.done
    assert office.line.summary(call_id)["state"] == "active"
    assert len(office.registry) == 1
    second.emit(LegEnded("remote_bye"))
    await settle()
    assert office.words() == [*[("not_replaceable", "None")] * 2, ("remote_bye", "None")]
