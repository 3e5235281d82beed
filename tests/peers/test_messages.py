"""Single messages that cannot be served: each gets the status that the RFCs have for it."""

import time
from collections.abc import Iterator

import pytest

from tests.peers.gateway import HOST
from tests.peers.line import Line
from tests.peers.wire import Caller, Message, UdpWire, connect, offer

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.usefixtures("meanwhile")]

METHODS = {"INVITE", "ACK", "BYE", "CANCEL", "OPTIONS"}
A_PORT = 16_000


@pytest.fixture(params=["UDP", "TCP"])
def caller(request: pytest.FixtureRequest, line: Line) -> Iterator[Caller]:
    with Caller(connect(request.param, line.gateway.sip), line.gateway.sip) as caller:
        yield caller


@pytest.fixture
def udp_caller(line: Line) -> Iterator[Caller]:
    with Caller(UdpWire(line.gateway.sip), line.gateway.sip) as caller:
        yield caller


def words(message: Message, header: str) -> set[str]:
    return {word.strip() for value in message.all(header) for word in value.split(",")}


def ask(caller: Caller, request: bytes, method: str) -> Message:
    """Send a request outside any call; returns the final response."""
    caller.wire.send(request)
    return caller.final(method)


def refusal(caller: Caller, sdp: str, *headers: str, **parts: str) -> Message:
    """Call, be turned away, acknowledge it; returns the final response."""
    caller.invite(sdp, headers, **parts)
    final = caller.final()
    caller.ack(final)
    assert final.status >= 400, final.start
    assert final.to_tag
    return final


def test_options_tell_what_is_understood(caller: Caller) -> None:
    final = ask(caller, caller.request("OPTIONS", cseq=1), "OPTIONS")
    assert final.status == 200
    assert words(final, "allow") >= METHODS
    assert "application/sdp" in words(final, "accept")
    assert final.to_tag


@pytest.mark.parametrize(
    "sdp",
    [
        pytest.param(offer(A_PORT, "18 9", lines=()), id="no codec of ours"),
        pytest.param(offer(A_PORT).replace("RTP/AVP", "RTP/SAVP"), id="SRTP only"),
        pytest.param(offer(A_PORT).replace("m=audio", "m=video"), id="no audio"),
    ],
)
def test_media_that_cannot_be_served_is_not_acceptable(caller: Caller, sdp: str) -> None:
    final = refusal(caller, sdp)
    assert final.status == 488
    code, agent, text = final.header("warning").split(" ", 2)
    assert 300 <= int(code) <= 399 and agent and text.startswith('"')


@pytest.mark.parametrize(
    "sdp",
    ["v=0\r\nno sdp at all\r\n", offer(A_PORT).replace("m=audio 16000", "m=audio many")],
)
def test_a_broken_offer_is_refused(udp_caller: Caller, sdp: str) -> None:
    assert refusal(udp_caller, sdp).status in (400, 488)


def test_an_extension_that_is_required_is_named(caller: Caller) -> None:
    final = refusal(caller, offer(A_PORT), "Require: foo, bar")
    assert final.status == 420
    assert words(final, "unsupported") == {"foo", "bar"}


@pytest.mark.parametrize(
    ("method", "status"),
    [("DANCE", 501), ("REGISTER", 405), ("SUBSCRIBE", 405), ("PUBLISH", 405), ("MESSAGE", 405)],
)
def test_a_method_that_is_not_served(caller: Caller, method: str, status: int) -> None:
    final = ask(caller, caller.request(method, cseq=1), method)
    assert final.status == status
    assert words(final, "allow") >= METHODS


def test_a_body_of_another_type(caller: Caller) -> None:
    final = refusal(caller, "hello", content_type="text/plain")
    assert final.status == 415
    assert "application/sdp" in words(final, "accept")


@pytest.mark.parametrize("uri", ["mailto:agent@example.com", "soap.beep://192.0.2.1:30"])
def test_a_scheme_that_is_not_served(udp_caller: Caller, uri: str) -> None:
    udp_caller.target = uri
    assert refusal(udp_caller, offer(A_PORT)).status == 416


@pytest.mark.parametrize("method", ["BYE", "CANCEL"])
def test_a_call_that_does_not_exist(caller: Caller, method: str) -> None:
    request = caller.request(method, cseq=1)
    if method == "BYE":
        request = request.replace(b">\r\nCall-ID", b">;tag=nobody\r\nCall-ID")
    assert ask(caller, request, method).status == 481


def test_a_reinvite_of_a_call_that_does_not_exist(udp_caller: Caller) -> None:
    request = udp_caller.request("INVITE", offer(A_PORT), cseq=2, branch="z9hG4bK-nobody")
    request = request.replace(b">\r\nCall-ID", b">;tag=nobody\r\nCall-ID")
    udp_caller.invite_branch = "z9hG4bK-nobody"
    final = ask(udp_caller, request, "INVITE")
    udp_caller.ack(final)
    assert final.status == 481


def test_a_request_that_came_too_far(udp_caller: Caller) -> None:
    udp_caller.cseq = 1
    request = udp_caller.request(
        "INVITE", offer(A_PORT), cseq=1, branch="z9hG4bK-far", max_forwards=0
    )
    udp_caller.invite_branch = "z9hG4bK-far"
    final = ask(udp_caller, request, "INVITE")
    udp_caller.ack(final)
    assert final.status == 483


def test_another_version_of_sip(caller: Caller) -> None:
    request = caller.request("OPTIONS", cseq=1).replace(b" SIP/2.0\r\n", b" SIP/3.0\r\n", 1)
    assert ask(caller, request, "OPTIONS").status == 505


@pytest.mark.parametrize("name", ["From", "To", "Call-ID", "CSeq"])
def test_a_missing_header_is_named(udp_caller: Caller, name: str) -> None:
    lines = udp_caller.request("OPTIONS", cseq=1).split(b"\r\n")
    kept = [line for line in lines if not line.startswith(f"{name}:".encode())]
    udp_caller.wire.send(b"\r\n".join(kept))
    final = udp_caller.wire.receive(2)
    assert final is not None and final.status == 400
    assert name.lower() in final.start.lower()


def test_the_same_request_by_two_ways_is_merged(line: Line) -> None:
    line.realtime.server.update = "ignore"  # it keeps ringing
    try:
        with Caller(UdpWire(line.gateway.sip), line.gateway.sip) as caller:
            mark = line.gateway.mark()
            first = caller.invite(offer(A_PORT))
            branch = caller.invite_branch
            caller.wait("INVITE", 180)
            caller.wire.send(first.replace(branch.encode(), b"z9hG4bK-other-way"))
            merged = caller.final()
            assert merged.status == 482
            caller.invite_branch = "z9hG4bK-other-way"
            caller.ack(merged)
            caller.invite_branch = branch
            caller._to = caller._to.partition(";tag")[0]
            caller.cancel()
            assert caller.final("CANCEL").status == 200
            caller.ack(caller.wait("INVITE", 487))
            assert line.gateway.call_ended(mark)["reason"] == "cancelled"
            assert len(line.gateway.lines("call.incoming", mark)) == 1
    finally:
        line.realtime.server.update = "apply"


def test_a_second_invite_before_the_first_is_answered(line: Line) -> None:
    line.realtime.server.update = "ignore"
    try:
        with Caller(UdpWire(line.gateway.sip), line.gateway.sip) as caller:
            caller.invite(offer(A_PORT))
            branch, to = caller.invite_branch, caller._to
            ringing = caller.wait("INVITE", 180)
            caller._to = ringing.header("to")
            caller.invite(offer(A_PORT, version=2))
            early = caller.final()
            assert early.status == 500 and 0 <= int(early.header("retry-after")) <= 10
            caller.ack(early)
            caller.cseq, caller.invite_branch, caller._to = 1, branch, to
            caller.cancel()
            caller.ack(caller.wait("INVITE", 487))
    finally:
        line.realtime.server.update = "apply"


def test_an_old_cseq_inside_a_call(udp_caller: Caller) -> None:
    udp_caller.cseq = 10
    udp_caller.call(offer(A_PORT))
    udp_caller.wire.send(udp_caller.request("OPTIONS", cseq=3))
    assert udp_caller.final("OPTIONS").status == 500
    udp_caller.hang_up()


def test_options_inside_a_call_are_answered(udp_caller: Caller) -> None:
    udp_caller.call(offer(A_PORT))
    udp_caller.cseq += 1
    udp_caller.wire.send(udp_caller.request("OPTIONS"))
    assert udp_caller.final("OPTIONS").status == 200
    udp_caller.hang_up()


def test_responses_and_acks_are_never_answered(caller: Caller) -> None:
    host, port = caller.wire.address
    caller.wire.send(caller.request("ACK", cseq=1))
    response = (
        f"SIP/2.0 200 OK\r\nVia: SIP/2.0/{caller.wire.name} {host}:{port};branch=z9hG4bK-no\r\n"
        "From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>;tag=2\r\n"
        "Call-ID: nobody\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"
    )
    caller.wire.send(response.encode())
    assert caller.silent_for(0.3)


def test_answers_go_where_the_request_came_from(line: Line) -> None:
    """Behind NAT the Via names an address that nobody can reach."""
    with Caller(UdpWire(line.gateway.sip, "127.0.0.5"), line.gateway.sip) as caller:
        host, port = caller.wire.address
        request = caller.request("OPTIONS", cseq=1)
        hidden = request.replace(f"{host}:{port};rport".encode(), b"192.0.2.77:9;rport", 1)
        final = ask(caller, hidden, "OPTIONS")
        via = final.header("via")
        assert f"received={host}" in via and f"rport={port}" in via


def test_garbage_is_survived(line: Line) -> None:
    for garbage in (b"", b"\r\n\r\n", b"\0" * 100, b"INVITE", bytes(range(256)) * 200):
        for transport in ("UDP", "TCP"):
            wire = connect(transport, line.gateway.sip)
            wire.send(garbage)
            wire.receive(0.05)
            wire.close()
    with Caller(UdpWire(line.gateway.sip), line.gateway.sip) as caller:
        assert ask(caller, caller.request("OPTIONS", cseq=1), "OPTIONS").status == 200


@pytest.mark.parametrize(
    ("headers", "sdp"),
    [
        pytest.param(["X-Long: " + "a" * 60_000], offer(A_PORT), id="a long header"),
        pytest.param(["X-Many: a"] * 4000, offer(A_PORT), id="many headers"),
        pytest.param([], offer(A_PORT) + "m=audio 0 RTP/AVP 0\r\n" * 1000, id="many media lines"),
        pytest.param([], offer(A_PORT, "0 " + "96 " * 1000 + "8"), id="many formats"),
    ],
)
def test_what_is_too_large_is_refused_at_once(caller: Caller, headers: list[str], sdp: str) -> None:
    began = time.monotonic()
    caller.invite(sdp, headers)
    final = caller.final()
    caller.ack(final)
    assert final.status in (400, 413, 488, 513)
    assert time.monotonic() - began < 1


def test_a_stream_is_cut_into_messages(line: Line) -> None:
    with Caller(connect("TCP", line.gateway.sip), line.gateway.sip) as caller:
        request = caller.request("OPTIONS", cseq=1)
        for at in range(0, len(request), 7):
            caller.wire.send(request[at : at + 7])
            time.sleep(0.001)
        assert caller.final("OPTIONS").status == 200
        caller.wire.send(
            caller.request("OPTIONS", cseq=2) + b"\r\n\r\n" + caller.request("OPTIONS", cseq=3)
        )
        assert caller.final("OPTIONS").status == caller.final("OPTIONS").status == 200


def test_the_host_in_contact_and_sdp_can_be_reached(udp_caller: Caller) -> None:
    final = udp_caller.call(offer(A_PORT))
    assert HOST in final.contact_uri
    assert final.media[0] == HOST and final.media[1] % 2 == 0
    udp_caller.hang_up()
