"""What the API asks of calls: accept, reject, refer, hang up and dial, through the whole `Line`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from gateway.calls.commands import Accept, Command, Dial, HangUp, Refer, Reject
from gateway.calls.control import MAX_CONTROLS
from gateway.calls.line import Line, LineConfig
from gateway.calls.policy import CallPolicy
from gateway.calls.registry import Registry
from gateway.calls.sessions import Sources
from gateway.legs.leg import (
    CallOrder,
    LegAnswered,
    LegEnded,
    LegError,
    LegRedirected,
    LegRinging,
    OfferError,
    ReferAnswered,
    ReferProgress,
)
from gateway.realtime.errors import RealtimeError
from gateway.upstream.errors import BackendError
from gateway.upstream.webhook import Delivered, WebhookError
from tests.calls.fakes import (
    FakeBackend,
    FakeCallee,
    FakeControl,
    FakeLeg,
    FakePeerLeg,
    FakeWebhook,
    settle,
)

pytestmark = pytest.mark.loop

SESSION = {"type": "realtime", "instructions": "be brief"}
TARGET = "tel:+4930123456"


class Desk:
    """A line whose application is the test."""

    def __init__(self, policy: CallPolicy, backend: FakeBackend, **config: Any) -> None:
        self.backend = backend
        self.webhook = FakeWebhook()
        self.records: list[dict[str, Any]] = []
        self.callee = FakeCallee()
        self.dialled: list[CallOrder] = []
        self.busy: LegError | None = None
        self.peer = FakePeerLeg()
        self.offers: list[bytes] = []
        self.registry = Registry(config.pop("limit", 10), self.records.append)
        self.line = Line(
            LineConfig(policy, **config),
            self.registry,
            Sources(backend),
            self._dial,
            self._meet,
            self.webhook,
            structlog.get_logger(),
        )

    async def call(self, leg: FakeLeg | None = None) -> tuple[str, FakeLeg]:
        """Somebody calls; returns the call's id, as the webhook told it."""
        leg = leg or FakeLeg()
        self.line.take(leg, None)
        await settle()
        return self.webhook.bodies[-1]["data"]["call_id"], leg

    async def error(self, call_id: str, command: Command) -> RealtimeError:
        with pytest.raises(RealtimeError) as caught:
            await self.line.command(call_id, command)
        return caught.value

    def state(self, call_id: str) -> str:
        state: str = self.line.summary(call_id)["state"]
        return state

    def _meet(self, offer: bytes) -> FakePeerLeg:
        self.offers.append(offer)
        if offer == b"useless":
            raise OfferError("There is no audio in it")
        return self.peer

    def _dial(self, order: CallOrder) -> FakeCallee:
        if self.busy is not None:
            raise self.busy
        self.dialled.append(order)
        return self.callee


@asynccontextmanager
async def desk(
    *,
    policy: CallPolicy | None = None,
    backend: FakeBackend | None = None,
    **config: Any,
) -> AsyncIterator[Desk]:
    policy = policy or CallPolicy(application_decides=True)
    place = Desk(policy, backend or FakeBackend(), **config)
    yield place
    await asyncio.wait_for(place.registry.drain(0), 1)
    assert len(place.records) == len(place.line.call_ids())  # exactly one record a call


async def test_the_application_is_told_who_calls_and_its_accept_answers() -> None:
    async with desk() as place:
        call_id, leg = await place.call()
        data = place.webhook.bodies[0]["data"]
        assert data["sip_headers"][1] == {"name": "X-Customer", "value": "42"}
        assert data["sip_media_security"] == "rtp"
        assert leg.done == ["ring"]
        shown = place.line.summary(call_id)
        assert (shown["state"], shown["codec"]) == ("ringing", None)
        assert (shown["from"], shown["to"]) == ("sip:…3456@example.com", "sip:bob@example.com:5070")
        await place.line.command(call_id, Accept(SESSION))
        assert leg.done == ["ring", "answer"]
        assert place.backend.asked[0]["instructions"] == "be brief"
        leg.emit(LegAnswered())
        assert place.state(call_id) == "active"
        assert place.backend.session is not None
        assert place.backend.session.sent == []  # the application speaks for itself


async def test_a_webhook_is_wanted_until_somebody_has_decided() -> None:
    async with desk() as place:
        call_id, _ = await place.call()
        assert place.webhook.wanted()
        await place.line.command(call_id, Accept(SESSION))
        assert not place.webhook.wanted()


@pytest.mark.parametrize("delivered", (True, False))
async def test_the_outcome_of_the_webhook_decides_nothing(delivered: bool) -> None:
    async with desk() as place:
        call_id, _ = await place.call()
        failed = WebhookError("answered 404", 1, 404)
        place.webhook.done(Delivered(2, 204) if delivered else failed)
        assert place.state(call_id) == "ringing"
        await place.line.command(call_id, Accept(SESSION))


async def test_a_config_that_the_server_refuses_is_a_400_that_names_the_field() -> None:
    refused = BackendError(
        "no such voice",
        code="invalid_value",
        param="session.audio.output.voice",
        refused=True,
    )
    async with desk(backend=FakeBackend(error=refused)) as place:
        call_id, leg = await place.call()
        error = await place.error(call_id, Accept(SESSION))
        assert (error.status, error.param) == (400, "session.audio.output.voice")
        assert place.state(call_id) == "ringing"
        assert leg.done == ["ring"]


async def test_a_server_that_cannot_be_had_is_a_502_and_the_caller_goes_on_ringing() -> None:
    async with desk(backend=FakeBackend(error="handshake answered 500")) as place:
        call_id, leg = await place.call()
        error = await place.error(call_id, Accept(SESSION))
        assert (error.status, error.code, error.retry) == (502, "backend_unavailable", True)
        assert place.state(call_id) == "ringing"
        assert leg.done == ["ring"]


async def test_a_caller_who_hung_up_is_a_404_however_late_the_accept() -> None:
    async with desk() as place:
        call_id, leg = await place.call()
        leg.emit(LegEnded("cancelled", 487))
        await settle()
        error = await place.error(call_id, Accept(SESSION))
        assert error.fields() == {
            "message": "No session found for the provided call_id",
            "type": "invalid_request_error",
            "code": "call_id_not_found",
            "param": "",
        }
        assert error.status == 404
        assert place.backend.asked == []  # no ghost of a session


async def test_a_caller_who_hangs_up_while_the_session_is_opened_is_a_404() -> None:
    async with desk(backend=FakeBackend(hang=True)) as place:
        call_id, leg = await place.call()
        accepting = asyncio.ensure_future(place.error(call_id, Accept(SESSION)))
        await settle()
        leg.emit(LegEnded("cancelled", 487))
        assert (await accepting).code == "call_id_not_found"


async def test_a_caller_who_left_at_the_moment_of_the_answer_is_a_404() -> None:
    async with desk() as place:
        leg = FakeLeg(answer_error=LegError(487, "caller_gone"))
        call_id, _ = await place.call(leg)
        assert (await place.error(call_id, Accept(SESSION))).code == "call_id_not_found"


@pytest.mark.parametrize("command", (Reject(486), HangUp()))
async def test_a_repeated_command_has_the_outcome_of_the_first(command: Command) -> None:
    async with desk() as place:
        call_id, leg = await place.call()
        await place.line.command(call_id, command)
        await settle()
        assert place.registry.get(call_id) is None
        await place.line.command(call_id, command)
        assert [what for what in leg.done if what[0] == "reject"] == [
            ("reject", 486 if isinstance(command, Reject) else 480, None)
        ]


async def test_a_transfer_is_followed_to_its_outcome() -> None:
    async with desk() as place:
        call_id, leg = await place.call()
        await place.line.command(call_id, Accept(SESSION))
        leg.emit(LegAnswered())
        asked, unasked = FakeControl(extensions=True), FakeControl()
        call = place.registry.get(call_id)
        assert call is not None
        call.attach(asked)
        call.attach(unasked)
        referring = asyncio.ensure_future(place.line.command(call_id, Refer(TARGET)))
        await settle()
        assert leg.done[-1] == ("refer", TARGET)
        assert not referring.done()
        leg.emit(ReferAnswered(202))
        await referring
        shown = place.line.summary(call_id)["transfer"]
        assert shown == {
            "target": "tel:…3456",
            "result": "pending",
            "sip_status": None,
            "how": "refer",
        }
        leg.emit(ReferProgress(486, over=True))
        assert place.line.summary(call_id)["transfer"]["result"] == "busy"
        assert place.state(call_id) == "active"
        assert asked.types() == ["gateway.transfer.ended"]
        assert unasked.types() == []


async def test_a_target_that_the_leg_cannot_send_is_a_400() -> None:
    async with desk() as place:
        leg = FakeLeg(refer_error=LegError(400, "bad_target"))
        call_id, _ = await place.call(leg)
        await place.line.command(call_id, Accept(SESSION))
        leg.emit(LegAnswered())
        error = await place.error(call_id, Refer(TARGET))
        assert (error.status, error.code) == (400, "bad_target")
        assert place.state(call_id) == "active"


async def test_only_targets_that_the_operator_allows_are_called_or_transferred_to() -> None:
    async with desk(targets=("tel:+4930",)) as place:
        call_id, leg = await place.call()
        await place.line.command(call_id, Accept(SESSION))
        leg.emit(LegAnswered())
        error = await place.error(call_id, Refer("tel:+1900555"))
        assert (error.code, error.param) == ("target_not_allowed", "target_uri")
        with pytest.raises(RealtimeError) as caught:
            await place.line.dial(Dial("tel:+1900555"))
        assert (caught.value.code, caught.value.param) == ("target_not_allowed", "to")
        assert place.dialled == []


async def test_a_call_of_ours_is_made_followed_and_answered() -> None:
    async with desk() as place:
        summary = await place.line.dial(
            Dial("sip:bob@127.0.0.1:5090", "tel:+49301", session=SESSION)
        )
        call_id = summary["id"]
        assert (summary["direction"], summary["state"]) == ("outbound", "connecting")
        assert place.dialled == [CallOrder("sip:bob@127.0.0.1:5090", "tel:+49301")]
        assert place.webhook.bodies == []
        asked, unasked = FakeControl(extensions=True), FakeControl()
        call = await place.line.joined(call_id, 1)
        call.attach(asked)
        call.attach(unasked)
        place.callee.emit(LegRinging(180))
        assert place.state(call_id) == "ringing"
        place.callee.emit(LegRinging(183))
        place.callee.emit(LegAnswered())
        assert place.state(call_id) == "active"
        assert asked.types() == ["gateway.call.ringing", "gateway.call.answered"]
        assert unasked.types() == []
        assert place.callee.port.sink is not None
        place.callee.emit(LegEnded("remote_bye"))
        await settle()
        assert place.records[0]["direction"] == "outbound"


async def test_all_that_an_order_says_reaches_the_leg() -> None:
    headers = (("X-Order", "1"), ("User-to-User", "3031"))
    async with desk() as place:
        order = Dial("tel:+1555", "tel:+49301", "Zoë", True, headers, ring_timeout_s=5)
        await place.line.dial(order)
        assert place.dialled == [CallOrder("tel:+1555", "tel:+49301", "Zoë", True, headers)]


async def test_no_call_rings_longer_than_the_line_lets_it() -> None:
    async with desk(policy=CallPolicy(ring_timeout_s=20)) as place:
        with pytest.raises(RealtimeError) as caught:
            await place.line.dial(Dial("sip:bob@127.0.0.1", ring_timeout_s=20.5))
        assert (caught.value.code, caught.value.param) == ("invalid_value", "ring_timeout_s")
        assert place.dialled == []


async def test_a_busy_trunk_is_worth_another_try() -> None:
    async with desk() as place:
        place.busy = LegError(429, "trunk_busy")
        with pytest.raises(RealtimeError) as caught:
            await place.line.dial(Dial("tel:+1555"))
        error = caught.value
        assert (error.status, error.code, error.retry, error.retry_after_s) == (
            429,
            "trunk_busy",
            True,
            1,
        )


async def test_chosen_headers_stand_in_what_a_command_has_us_send() -> None:
    headers = (("X-Case", "7"),)
    async with desk() as place:
        call_id, leg = await place.call()
        await place.line.command(call_id, Accept(SESSION, headers))
        leg.emit(LegAnswered())
        assert leg.done[-1] == ("answer", headers)
        referring = asyncio.ensure_future(
            place.line.command(call_id, Refer(TARGET, headers=headers))
        )
        await settle()
        assert leg.done[-1] == ("refer", TARGET, headers)
        leg.emit(ReferAnswered(603))
        with pytest.raises(RealtimeError):
            await referring
        await place.line.command(call_id, HangUp(headers))
        assert ("hang_up", headers) in leg.done
        for command in (Reject(486, headers), HangUp(headers)):
            call_id, leg = await place.call()
            await place.line.command(call_id, command)
            status = 486 if isinstance(command, Reject) else 480
            assert ("reject", status, None, headers) in leg.done


async def test_a_call_that_goes_elsewhere_is_logged_and_rings_on() -> None:
    async with desk() as place:
        summary = await place.line.dial(Dial("sip:bob@127.0.0.1"))
        with capture_logs() as logs:
            place.callee.emit(LegRedirected(302))
        assert [(log["event"], log["sip_status"]) for log in logs] == [("call.redirected", 302)]
        assert place.state(summary["id"]) == "connecting"


async def test_a_callee_who_is_busy_ends_the_call_with_that_status() -> None:
    async with desk() as place:
        summary = await place.line.dial(Dial("sip:bob@127.0.0.1"))
        place.callee.emit(LegEnded("refused", 486))
        await settle()
        ended = place.line.summary(summary["id"])
        assert (ended["state"], ended["reason"], ended["sip_status"]) == ("ended", "refused", 486)


async def test_a_call_that_cannot_be_made_is_an_error_and_a_record() -> None:
    async with desk() as place:
        place.callee = FakeCallee(answer_error=LegError(404, "unknown_host"))
        with pytest.raises(RealtimeError) as caught:
            await place.line.dial(Dial("sip:bob@nowhere.example"))
        assert (caught.value.status, caught.value.param) == (400, "to")
        await settle()
        assert [record["reason"] for record in place.records] == ["unknown_host"]


async def test_a_call_that_ends_before_it_is_made_is_no_404() -> None:
    async with desk(backend=FakeBackend(hang=True)) as place:
        dialling = asyncio.ensure_future(place.line.dial(Dial("sip:bob@127.0.0.1")))
        await settle()
        (call_id,) = place.line.call_ids()
        await place.line.command(call_id, HangUp())
        with pytest.raises(RealtimeError) as caught:
            await dialling
        error = caught.value
        assert (error.status, error.code, error.retry) == (503, "hangup", False)


async def test_an_accepting_line_tells_its_application_all_the_same() -> None:
    async with desk(policy=CallPolicy()) as place:
        call_id, leg = await place.call()
        assert leg.done == ["ring", "answer"]
        assert place.webhook.wanted()
        assert (await place.error(call_id, Accept(SESSION))).code == "call_already_accepted"
        leg.emit(LegAnswered())
        await place.line.command(call_id, HangUp())
        assert not place.webhook.wanted()


async def test_a_full_line_makes_no_calls() -> None:
    async with desk(limit=1) as place:
        await place.call()
        with pytest.raises(RealtimeError) as caught:
            await place.line.dial(Dial("sip:bob@127.0.0.1"))
        assert (caught.value.status, caught.value.code) == (429, "full")


async def test_a_sideband_waits_for_a_call_that_is_being_set_up() -> None:
    async with desk() as place:
        call_id, _ = await place.call()
        waiting = asyncio.ensure_future(place.line.joined(call_id, 5))
        await settle()
        assert not waiting.done()
        await place.line.command(call_id, Accept(SESSION))
        assert (await waiting).session["instructions"] == "be brief"


async def test_a_sideband_of_a_call_that_ends_undecided_is_told_so_at_once() -> None:
    async with desk() as place:
        call_id, leg = await place.call()
        waiting = asyncio.ensure_future(place.line.joined(call_id, 60))
        await settle()
        leg.emit(LegEnded("cancelled", 487))
        with pytest.raises(RealtimeError) as caught:
            await waiting
        assert caught.value.status == 404


async def test_a_sideband_does_not_wait_for_ever() -> None:
    async with desk() as place:
        call_id, _ = await place.call()
        with pytest.raises(RealtimeError):
            await place.line.joined(call_id, 0.01)


async def test_every_sideband_sees_every_event_and_the_end() -> None:
    async with desk() as place:
        call_id, leg = await place.call()
        await place.line.command(call_id, Accept(SESSION))
        leg.emit(LegAnswered())
        call = await place.line.joined(call_id, 1)
        first, listener = FakeControl(), FakeControl(audio=True)
        call.attach(first)
        call.attach(listener)
        session = place.backend.session
        assert session is not None
        delta = {
            "type": "response.output_audio.delta",
            "event_id": "event_1",
            "response_id": "resp_1",
            "item_id": "item_1",
            "output_index": 0,
            "content_index": 0,
            "delta": "/////w==",
        }
        update = {"type": "session.updated", "event_id": "event_2", "session": {"id": "sess_1"}}
        await session.say(delta, update, {"type": "tomorrow", "event_id": "event_3", "x": [1]})
        assert first.types() == ["session.updated", "tomorrow"]
        assert listener.types() == [delta["type"], "session.updated", "tomorrow"]
        assert call.session == {"id": "sess_1"}
        call.detach(first)
        leg.emit(LegEnded("remote_bye"))
        await settle()
        assert listener.closed
        assert not first.closed


async def test_the_clients_of_a_call_are_bounded_and_one_that_comes_too_late_is_closed() -> None:
    async with desk() as place:
        call_id, leg = await place.call()
        await place.line.command(call_id, Accept(SESSION))
        leg.emit(LegAnswered())
        call = await place.line.joined(call_id, 1)
        for _ in range(MAX_CONTROLS):
            call.attach(FakeControl())
        with pytest.raises(RealtimeError) as caught:
            await place.line.joined(call_id, 1)
        assert caught.value.status == 429
        leg.emit(LegEnded("remote_bye"))
        await settle()
        late = FakeControl()
        call.attach(late)
        assert late.closed


async def test_ended_calls_are_shown_after_those_in_progress_the_newest_first() -> None:
    async with desk() as place:
        ids = []
        for _ in range(3):
            call_id, _ = await place.call()
            await place.line.command(call_id, HangUp())
            await settle()
            ids.append(call_id)
        assert place.line.call_ids() == ids[::-1]
        with pytest.raises(RealtimeError):
            place.line.summary("rtc_unknown")


# Calls over WebRTC.


async def test_an_offer_is_answered_when_the_session_is_there() -> None:
    async with desk() as place:
        call_id, answer = await place.line.connect(b"offer", SESSION)
        assert (place.offers, answer) == ([b"offer"], place.peer.description)
        assert place.backend.asked[0]["instructions"] == "be brief"
        assert place.webhook.bodies == []  # its application knows: it posted the offer
        shown = place.line.summary(call_id)
        assert (shown["leg"], shown["from"], shown["to"]) == ("webrtc", None, None)
        place.peer.emit(LegAnswered())
        shown = place.line.summary(call_id)
        assert (shown["state"], shown["codec"]) == ("active", "opus")
        assert place.backend.session is not None
        assert place.backend.session.types() == []  # whoever called asks for the first word
        await place.line.command(call_id, HangUp())
        assert place.line.summary(call_id)["reason"] == "hangup"


async def test_without_a_session_the_line_has_its_own() -> None:
    async with desk(policy=CallPolicy(session={"type": "realtime", "instructions": "ours"})) as it:
        await it.line.connect(b"offer", None)
        assert it.backend.asked[0]["instructions"] == "ours"


async def test_a_model_is_for_a_session_that_names_none() -> None:
    own = {"type": "realtime", "instructions": "ours", "model": "our-model"}
    async with desk(policy=CallPolicy(session=own)) as it:
        await it.line.connect(b"offer", None, "theirs")
        assert it.backend.asked[0]["instructions"] == "ours"
        assert it.backend.asked[0]["model"] == "theirs"
    async with desk() as it:
        await it.line.connect(b"offer", SESSION | {"model": "named"}, "theirs")
        assert it.backend.asked[0]["model"] == "named"


@pytest.mark.parametrize("ends", ["hangs up", "drains"])
async def test_a_call_that_ends_before_its_answer_says_why(ends: str) -> None:
    async with desk(backend=FakeBackend(hang=True)) as place:
        waiting = asyncio.ensure_future(place.line.connect(b"offer", None))
        await settle()
        (call_id,) = place.line.call_ids()
        if ends == "hangs up":
            await place.line.command(call_id, HangUp())
        else:
            await place.registry.drain(0)
        with pytest.raises(RealtimeError) as caught:
            await waiting
        reason = {"hangs up": "hangup", "drains": "drain"}[ends]
        assert (caught.value.status, caught.value.code) == (503, reason)
        assert not caught.value.retry


async def test_an_offer_that_cannot_be_served_is_told_why_and_is_no_call() -> None:
    async with desk() as place:
        with pytest.raises(RealtimeError) as caught:
            await place.line.connect(b"useless", None)
        assert caught.value.fields() == {
            "message": "The SDP offer cannot be used. There is no audio in it.",
            "type": "invalid_request_error",
            "param": "sdp",
            "code": "invalid_sdp",
        }
        assert caught.value.status == 400
        assert place.line.call_ids() == []


async def test_a_browser_is_told_that_no_session_is_to_be_had() -> None:
    async with desk(backend=FakeBackend(error=BackendError("no"))) as place:
        with pytest.raises(RealtimeError) as caught:
            await place.line.connect(b"offer", None)
        assert caught.value.status == 502
        await settle()
        assert place.peer.done[-1] == "close"
        assert place.records[0]["sip_status"] is None


async def test_a_browser_is_told_that_there_is_no_port() -> None:
    async with desk() as place:
        place.peer = FakePeerLeg(LegError(503, "no_media_port"))
        with pytest.raises(RealtimeError) as caught:
            await place.line.connect(b"offer", None)
        assert (caught.value.status, caught.value.code) == (503, "no_media_port")


async def test_a_full_line_takes_no_browser() -> None:
    async with desk(limit=1) as place:
        await place.call()
        with pytest.raises(RealtimeError) as caught:
            await place.line.connect(b"offer", None)
        assert (caught.value.status, caught.value.code) == (429, "full")
        assert caught.value.retry_after_s == 10
        assert place.offers == []


async def test_a_browser_cannot_be_transferred() -> None:
    async with desk() as place:
        call_id, _ = await place.line.connect(b"offer", None)
        place.peer.emit(LegAnswered())
        error = await place.error(call_id, Refer(TARGET))
        assert (error.status, error.code) == (400, "not_a_phone_call")
        assert place.state(call_id) == "active"
