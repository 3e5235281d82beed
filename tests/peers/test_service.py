"""The gateway as a service: full, without a model, with callers who vanish, and told to stop."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ahead import early
from tests.peers.gateway import HOST, GatewayProcess, eventually, free_port
from tests.peers.line import RealtimeThread
from tests.peers.media import Phone
from tests.peers.wire import Caller, Message, TcpWire, UdpWire, offer

pytestmark = [pytest.mark.peer, pytest.mark.slow]


@contextmanager
def service(**env: str) -> Iterator[GatewayProcess]:
    """A gateway with these `GATEWAY_` variables, and a Realtime server of its own."""
    settings = {f"GATEWAY_{name}": value for name, value in env.items()}
    with RealtimeThread() as realtime, GatewayProcess(realtime.url, settings) as gateway:
        yield gateway


def new_caller(gateway: GatewayProcess) -> Caller:
    return Caller(UdpWire(gateway.sip), gateway.sip)


def refused(gateway: GatewayProcess) -> Message:
    """Call and be turned away."""
    with new_caller(gateway) as caller:
        caller.invite(offer(16_000))
        final = caller.final(timeout_s=8)
        caller.ack(final)
        return final


@early
def test_more_calls_than_allowed_get_503(_: Path) -> None:
    with service(CALLS_MAX="2") as gateway:
        assert gateway.get("/healthz")[0] == gateway.get("/readyz")[0] == 200
        with new_caller(gateway) as first, new_caller(gateway) as second:
            first.call(offer(16_000))
            second.call(offer(16_010))
            assert gateway.get("/readyz")[0] == 503
            assert gateway.get("/healthz")[0] == 200
            began = time.monotonic()
            final = refused(gateway)
            assert final.status == 503 and int(final.header("retry-after")) > 0
            assert time.monotonic() - began < 1
            rejected = gateway.wait_for("call.rejected")
            assert rejected["sip_status"] == 503
            record = gateway.wait_for("call.ended", call_id=rejected["call_id"])
            assert record["sip_status"] == 503 and record["duration_s"] == 0
            first.hang_up()
            assert eventually(lambda: gateway.get("/readyz")[0] == 200, 2)
            with new_caller(gateway) as third:
                third.call(offer(16_020))
                third.hang_up()
            second.hang_up()


@early
def test_a_caller_who_vanishes_is_noticed(_: Path) -> None:
    with (
        service(RTP_TIMEOUT_S="2") as gateway,
        Phone() as gone,
        Phone() as held,
        Phone() as there,
        new_caller(gateway) as vanishing,
        new_caller(gateway) as holding,
        new_caller(gateway) as talking,
        new_caller(gateway) as mute,
    ):
        mark = gateway.mark()
        gone.talk_to(vanishing.call(offer(gone.port)).media)
        call_id = gateway.wait_for("call.incoming", since=mark)["call_id"]
        held.talk_to(holding.call(offer(held.port)).media)
        there.talk_to(talking.call(offer(there.port)).media)
        began = time.monotonic()
        mute.call(offer(16_000))  # never sends anything
        assert holding.reinvite(offer(held.port, direction="sendonly", version=2)).status == 200
        held.muted = True
        time.sleep(0.5)
        gone.muted = True

        mute.answer(mute.wait("BYE", 0, timeout_s=4))
        assert 1.5 < time.monotonic() - began < 4
        vanishing.answer(vanishing.wait("BYE", 0, timeout_s=4))
        assert 2 < time.monotonic() - began < 4
        record = gateway.wait_for("call.ended", call_id=call_id)
        assert record["reason"] == "media_timeout" and record["rtp_received"] > 10

        # Held calls and those that talk are left alone.
        assert holding.silent_for(1.0) and talking.silent_for(0.1)
        assert holding.reinvite(offer(held.port, version=3)).status == 200
        held.muted = False
        assert talking.silent_for(1.0)
        holding.hang_up()
        talking.hang_up()
        ended = gateway.wait_for_lines("call.ended", 4, since=mark)
        reasons = sorted(str(line["reason"]) for line in ended)
        assert reasons == ["media_timeout"] * 2 + ["remote_bye"] * 2


@early
def test_a_caller_whose_connection_breaks_is_noticed(_: Path) -> None:
    with service(RTP_TIMEOUT_S="1") as gateway:
        with Phone() as phone, Caller(TcpWire(gateway.sip), gateway.sip) as caller:
            phone.talk_to(caller.call(offer(phone.port)).media)
            assert eventually(lambda: phone.sent > 10, 2)
            assert gateway.metrics()["gateway_sip_connections"] == 1
        assert eventually(lambda: gateway.metrics()["gateway_sip_connections"] == 0, 2)
        assert gateway.call_ended(0)["reason"] in ("media_timeout", "transport")
        # The BYE finds nobody: that ends it as well as an answer would.
        assert eventually(lambda: gateway.metrics()["gateway_sip_dialogs"] == 0, 3)


@early
def test_no_bye_before_the_ack(_: Path) -> None:
    """RFC 3261 section 15: an answer that nobody acknowledged yet cannot be taken back by BYE."""
    with (
        service(RTP_TIMEOUT_S="1") as gateway,
        new_caller(gateway) as caller,
    ):
        caller.invite(offer(16_000))
        final = caller.final()
        time.sleep(2.2)
        while (message := caller.wire.receive(0.1)) is not None:
            assert message.status == 200, message.start
        caller.ack(final)
        caller.answer(caller.wait("BYE", 0, timeout_s=4))
        assert gateway.call_ended(0)["reason"] == "media_timeout"


@early
def test_without_a_model_the_caller_gets_503(_: Path) -> None:
    settings = {"GATEWAY_REALTIME_CONNECT_TIMEOUT_S": "1"}
    nowhere = f"ws://{HOST}:{free_port()}/v1/realtime"
    with GatewayProcess(nowhere, settings) as gateway:
        assert_has_no_model(gateway)
    with RealtimeThread() as realtime, GatewayProcess(realtime.url, settings) as gateway:
        realtime.server.refuse = 401
        assert_has_no_model(gateway)
        realtime.server.refuse = None
        realtime.server.update = "error"  # no session
        assert_has_no_model(gateway)
        realtime.server.update = "ignore"  # no answer
        assert_has_no_model(gateway)


def assert_has_no_model(gateway: GatewayProcess) -> None:
    mark = gateway.mark()
    assert refused(gateway).status == 503
    record = gateway.call_ended(mark)
    assert record["sip_status"] == 503 and record["reason"] == "backend_unavailable"
    assert record["duration_s"] == 0
    assert gateway.metrics()["gateway_media_ports_free"] == gateway.media_ports / 2


@early
def test_sigterm_lets_calls_finish(_: Path) -> None:
    with (
        service(DRAIN_S="4") as gateway,
        Phone() as phone,
        new_caller(gateway) as finishing,
        new_caller(gateway) as staying,
    ):
        phone.talk_to(finishing.call(offer(phone.port)).media)
        staying.call(offer(16_000))
        gateway.terminate()
        began = time.monotonic()
        gateway.wait_for("gateway.draining")
        assert eventually(lambda: gateway.get("/readyz")[0] == 503, 0.5, 0.01)
        final = refused(gateway)
        assert final.status == 503 and final.header("retry-after")
        with new_caller(gateway) as asking:
            asking.wire.send(asking.request("OPTIONS", cseq=1))
            assert asking.final("OPTIONS").status == 503

        packets = len(phone.packets)
        assert eventually(lambda: len(phone.packets) > packets + 20, 2)  # untouched
        finishing.hang_up()
        staying.answer(staying.wait("BYE", 0, timeout_s=8))
        assert 3.5 < time.monotonic() - began < 6
        assert gateway.wait() == 0
        assert time.monotonic() - began < 9
        reasons = [record["reason"] for record in gateway.ended_calls()]
        assert sorted(reason for reason in reasons if reason != "draining") == [
            "drain",
            "remote_bye",
        ]
        assert gateway.lines("gateway.stopped")


@early
def test_sigterm_with_nobody_on_the_line_ends_at_once(_: Path) -> None:
    with service(DRAIN_S="30") as gateway:
        began = time.monotonic()
        gateway.terminate()
        assert gateway.wait() == 0
        assert time.monotonic() - began < 3


@early
def test_the_log_is_json_and_hides_who_calls(_: Path) -> None:
    with service(LOG_LEVEL="info") as gateway:
        with new_caller(gateway) as caller:
            caller.call(offer(16_000), ["X-Secret: canary-7351"])
            caller.hang_up()
        gateway.call_ended(0)
        text = json.dumps(gateway.logs)
        assert "5551234567" not in text and "canary-7351" not in text
        started = gateway.lines("gateway.started")[0]
        assert started["http_port"] == gateway.http_port
        assert started["sip_udp_port"] == started["sip_tcp_port"] == gateway.sip_port
        assert all({"timestamp", "level", "event"} <= set(line) for line in gateway.logs)
