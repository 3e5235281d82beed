"""The four machines: every pair of state and input, and every timer to the millisecond."""

from dataclasses import dataclass, field

import pytest

from gateway.sip.config import SipConfig
from gateway.sip.deadlines import Deadlines
from gateway.sip.layer import ClientTransaction, ServerTransaction, TransactionLayer
from gateway.sip.message import Address, Headers, Request, Response
from gateway.sip.outbox import Outbox
from gateway.sip.parse import parse
from gateway.sip.transaction import (
    CLIENT_INVITE,
    CLIENT_NON_INVITE,
    SERVER_INVITE,
    SERVER_NON_INVITE,
    Machine,
    Signal,
    State,
    Timer,
    signal_of,
)
from tests.sip.network import tokens
from tests.sip.raw import answer_to, request

pytestmark = pytest.mark.pure

# What the figures of RFC 3261 section 17 and of RFC 6026 say, as one line per arrow:
# state, input, next state, what is seen from outside. Every pair that has no line is absorbed.
FIGURES: dict[str, tuple[Machine, str]] = {
    "client INVITE": (
        CLIENT_INVITE,
        """
        CALLING     A                CALLING     again
        CALLING     B                TERMINATED  timeout over
        CALLING     PROVISIONAL      PROCEEDING  deliver
        CALLING     SUCCESS          ACCEPTED    deliver
        CALLING     FAILURE          COMPLETED   ack deliver
        CALLING     TRANSPORT_ERROR  TERMINATED  transport over
        PROCEEDING  PROVISIONAL      PROCEEDING  deliver
        PROCEEDING  SUCCESS          ACCEPTED    deliver
        PROCEEDING  FAILURE          COMPLETED   ack deliver
        PROCEEDING  TRANSPORT_ERROR  TERMINATED  transport over
        ACCEPTED    SUCCESS          ACCEPTED    deliver
        ACCEPTED    M                TERMINATED  over
        COMPLETED   FAILURE          COMPLETED   ack
        COMPLETED   TRANSPORT_ERROR  TERMINATED  over
        COMPLETED   D                TERMINATED  over
        """,
    ),
    "client non-INVITE": (
        CLIENT_NON_INVITE,
        """
        TRYING      E                TRYING      again
        TRYING      F                TERMINATED  timeout over
        TRYING      PROVISIONAL      PROCEEDING  deliver
        TRYING      SUCCESS          COMPLETED   deliver
        TRYING      FAILURE          COMPLETED   deliver
        TRYING      TRANSPORT_ERROR  TERMINATED  transport over
        PROCEEDING  E                PROCEEDING  again
        PROCEEDING  F                TERMINATED  timeout over
        PROCEEDING  PROVISIONAL      PROCEEDING  deliver
        PROCEEDING  SUCCESS          COMPLETED   deliver
        PROCEEDING  FAILURE          COMPLETED   deliver
        PROCEEDING  TRANSPORT_ERROR  TERMINATED  transport over
        COMPLETED   K                TERMINATED  over
        """,
    ),
    "server INVITE": (
        SERVER_INVITE,
        """
        PROCEEDING  REQUEST          PROCEEDING  again
        PROCEEDING  PROVISIONAL      PROCEEDING  send
        PROCEEDING  SUCCESS          ACCEPTED    send
        PROCEEDING  FAILURE          COMPLETED   send
        PROCEEDING  TRANSPORT_ERROR  PROCEEDING  transport
        ACCEPTED    SUCCESS          ACCEPTED    again
        ACCEPTED    ACK              ACCEPTED    deliver
        ACCEPTED    TRANSPORT_ERROR  ACCEPTED    transport
        ACCEPTED    L                TERMINATED  over
        COMPLETED   REQUEST          COMPLETED   again
        COMPLETED   ACK              CONFIRMED
        COMPLETED   TRANSPORT_ERROR  COMPLETED   transport
        COMPLETED   G                COMPLETED   again
        COMPLETED   H                TERMINATED  timeout over
        CONFIRMED   I                TERMINATED  over
        """,
    ),
    "server non-INVITE": (
        SERVER_NON_INVITE,
        """
        TRYING      PROVISIONAL      PROCEEDING  send
        TRYING      SUCCESS          COMPLETED   send
        TRYING      FAILURE          COMPLETED   send
        PROCEEDING  REQUEST          PROCEEDING  again
        PROCEEDING  PROVISIONAL      PROCEEDING  send
        PROCEEDING  SUCCESS          COMPLETED   send
        PROCEEDING  FAILURE          COMPLETED   send
        PROCEEDING  TRANSPORT_ERROR  PROCEEDING  transport
        COMPLETED   REQUEST          COMPLETED   again
        COMPLETED   TRANSPORT_ERROR  COMPLETED   transport
        COMPLETED   J                TERMINATED  over
        """,
    ),
}
STATES = {
    "client INVITE": (State.CALLING, State.PROCEEDING, State.ACCEPTED, State.COMPLETED),
    "client non-INVITE": (State.TRYING, State.PROCEEDING, State.COMPLETED),
    "server INVITE": (State.PROCEEDING, State.ACCEPTED, State.COMPLETED, State.CONFIRMED),
    "server non-INVITE": (State.TRYING, State.PROCEEDING, State.COMPLETED),
}
PATHS: dict[State, tuple[Signal, ...]] = {
    State.CALLING: (),
    State.TRYING: (),
    State.PROCEEDING: (Signal.PROVISIONAL,),
    State.ACCEPTED: (Signal.SUCCESS,),
    State.COMPLETED: (Signal.FAILURE,),
    State.CONFIRMED: (Signal.FAILURE, Signal.ACK),
    State.TERMINATED: (),
}
STATUS = {Signal.PROVISIONAL: 180, Signal.SUCCESS: 200, Signal.FAILURE: 486}
UDP = Address("192.0.2.9", 5062, "udp")
TCP = Address("192.0.2.9", 5062, "tcp")


@dataclass
class Bench:
    """One transaction on a bench, with everything that it does to the world."""

    name: str
    to: Address = UDP
    now: float = 0.0
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outbox = Outbox()
        self.deadlines = Deadlines()
        config = SipConfig(host="192.0.2.1")
        self.layer = TransactionLayer(config, self.outbox, self.deadlines, tokens(1))
        self.method = "OPTIONS" if "non" in self.name else "INVITE"
        message = parse(request(self.method))
        assert isinstance(message, Request)
        self.request = message
        if "client" in self.name:
            message.headers = Headers(message.headers.items()[1:])  # without its Via
            self.client = self.layer.request(
                message,
                self.to,
                self.now,
                on_response=lambda *_: self.seen.append("deliver"),
                on_failure=lambda cause, _: self.seen.append(cause),
                on_over=lambda _: self.seen.append("over"),
            )
            self.machine: ClientTransaction | ServerTransaction = self.client
            self.outbox.drain()
        else:
            self.server = self.layer.serve(message, self.to)
            self.server.on_ack = lambda *_: self.seen.append("deliver")
            self.server.on_failure = lambda cause, _: self.seen.append(cause)
            self.machine = self.server
            if self.method == "INVITE":
                self.feed(Signal.PROVISIONAL)
        self.take()

    def feed(self, given: Signal | Timer) -> None:
        if "server" in self.name:
            if given in STATUS and not self.server.answered:
                self.server.answer(Response(STATUS[given], "", self.request.headers), self.now)
                return
            if given in (Signal.REQUEST, Signal.ACK):
                method = "ACK" if given is Signal.ACK else self.method
                self.server.receive(Request(method, self.request.uri), self.now)
                return
        elif given in STATUS:
            response = parse(answer_to(self.request, STATUS[given]))
            assert isinstance(response, Response)
            self.client.receive(response, self.to, self.now)
            return
        self.machine.feed(given, self.now)

    def take(self) -> list[str]:
        """What was seen since the last time."""
        seen, self.seen = self.seen, []
        repeated, self.outbox.counters.retransmits = self.outbox.counters.retransmits, 0
        for outgoing in self.outbox.drain():
            assert outgoing.to == self.to
            message = parse(outgoing.data)
            if isinstance(message, Request) and message.method == "ACK":
                seen.insert(0, "ack")
            else:
                seen.insert(0, "again" if repeated else "send")
        if "server" in self.name and self.machine.state is State.TERMINATED:
            seen.append("over")
        return seen

    def pass_time(self, seconds: float) -> list[tuple[float, str]]:
        """Let time pass; what is seen when, counted from now."""
        start, end, seen = self.now, self.now + seconds, []
        while (when := self.deadlines.next()) is not None and when <= end:
            self.now = when
            self.deadlines.run(when)
            seen += [(round(when - start, 3), what) for what in self.take() if what != "over"]
            if self.machine.state is State.TERMINATED:
                seen.append((round(when - start, 3), "over"))
                break
        return seen


def bench_in(name: str, state: State, to: Address = UDP) -> Bench:
    bench = Bench(name, to)
    for signal in PATHS[state]:
        bench.feed(signal)
    bench.take()
    assert bench.machine.state is state
    return bench


def arrows(name: str) -> dict[tuple[str, str], tuple[str, list[str]]]:
    lines = [line.split() for line in FIGURES[name][1].strip().splitlines()]
    return {(line[0], line[1]): (line[2], line[3:]) for line in lines}


def all_pairs() -> list[tuple[str, State, Signal | Timer]]:
    inputs = [*Signal, *Timer]
    return [(name, state, given) for name in FIGURES for state in STATES[name] for given in inputs]


@pytest.mark.parametrize(("name", "state", "given"), all_pairs())
def test_every_pair(name: str, state: State, given: Signal | Timer) -> None:
    bench = bench_in(name, state)
    timers = set(bench.machine._running)
    row = arrows(name).get((state.name, given.name))
    bench.feed(given)
    if row is None:
        assert bench.machine.state is state
        assert bench.take() == []
        assert set(bench.machine._running) == timers
        return
    assert bench.machine.state.name == row[0]
    assert bench.take() == row[1]
    assert len(bench.layer) == (row[0] != "TERMINATED")
    if row[0] == "TERMINATED":
        assert len(bench.deadlines) == 0


@pytest.mark.parametrize("name", FIGURES)
def test_tables_hold_exactly_the_arrows_of_the_figures(name: str) -> None:
    machine = FIGURES[name][0]
    # The copy of an INVITE in ACCEPTED is listed, although nothing comes of it, because that row
    # is what RFC 6026 is about.
    listed = {(state.name, given.name) for (state, given), row in machine.table.items()}
    assert listed - {("ACCEPTED", "REQUEST")} == set(arrows(name))
    for state, given in machine.table:
        if isinstance(given, Timer):
            assert given in machine.timers[state], "a timer that never runs in that state"
    for state, timers in machine.timers.items():
        for timer in timers:
            assert (state, timer) in machine.table, "a timer that does nothing"


@pytest.mark.parametrize("name", FIGURES)
def test_a_terminated_transaction_is_deaf(name: str) -> None:
    bench = Bench(name)
    bench.machine.abandon(bench.now)
    bench.take()
    for given in [*Signal, *Timer]:
        bench.machine.feed(given, bench.now)
    bench.machine.abandon(bench.now)
    assert [seen for seen in bench.take() if seen != "over"] == []
    assert (len(bench.layer), len(bench.deadlines)) == (0, 0)


DOUBLING = [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
CAPPED = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]


def again(times: list[float]) -> list[tuple[float, str]]:
    return [(when, "again") for when in times]


@pytest.mark.parametrize(
    ("name", "state", "to", "seen"),
    [
        ("client INVITE", State.CALLING, UDP, [*again(DOUBLING), (32, "timeout"), (32, "over")]),
        ("client INVITE", State.CALLING, TCP, [(32, "timeout"), (32, "over")]),
        ("client INVITE", State.PROCEEDING, UDP, []),
        ("client INVITE", State.ACCEPTED, UDP, [(32, "over")]),
        ("client INVITE", State.ACCEPTED, TCP, [(32, "over")]),
        ("client INVITE", State.COMPLETED, UDP, [(32, "over")]),
        ("client non-INVITE", State.TRYING, UDP, [*again(CAPPED), (32, "timeout"), (32, "over")]),
        ("client non-INVITE", State.TRYING, TCP, [(32, "timeout"), (32, "over")]),
        ("client non-INVITE", State.COMPLETED, UDP, [(5, "over")]),
        ("server INVITE", State.PROCEEDING, UDP, []),
        ("server INVITE", State.ACCEPTED, UDP, [(32, "over")]),
        ("server INVITE", State.ACCEPTED, TCP, [(32, "over")]),
        ("server INVITE", State.COMPLETED, UDP, [*again(CAPPED), (32, "timeout"), (32, "over")]),
        ("server INVITE", State.COMPLETED, TCP, [(32, "timeout"), (32, "over")]),
        ("server INVITE", State.CONFIRMED, UDP, [(5, "over")]),
        ("server non-INVITE", State.TRYING, UDP, []),
        ("server non-INVITE", State.COMPLETED, UDP, [(32, "over")]),
    ],
)
def test_timers(name: str, state: State, to: Address, seen: list[tuple[float, str]]) -> None:
    assert bench_in(name, state, to).pass_time(100) == seen


@pytest.mark.parametrize(
    ("name", "signals"),
    [
        ("client INVITE", [Signal.FAILURE]),
        ("client non-INVITE", [Signal.SUCCESS]),
        ("server INVITE", [Signal.FAILURE, Signal.ACK]),
        ("server non-INVITE", [Signal.SUCCESS]),
    ],
)
def test_over_tcp_nobody_waits_for_copies(name: str, signals: list[Signal]) -> None:
    bench = Bench(name, TCP)
    for signal in signals:
        bench.feed(signal)
    assert bench.machine.state is State.TERMINATED
    assert (len(bench.layer), len(bench.deadlines)) == (0, 0)


def test_a_provisional_slows_a_request_down_but_does_not_prolong_it() -> None:
    bench = Bench("client non-INVITE")
    assert bench.pass_time(0.6) == again([0.5])
    bench.feed(Signal.PROVISIONAL)
    assert bench.take() == ["deliver"]
    times = [1.5, 5.5, 9.5, 13.5, 17.5, 21.5, 25.5, 29.5]
    left = [(round(when - bench.now, 3), "again") for when in times]
    end = round(32 - bench.now, 3)
    assert bench.pass_time(100) == [*left, (end, "timeout"), (end, "over")]


@pytest.mark.parametrize("status", range(100, 700, 50))
def test_statuses_are_read_by_their_first_digit(status: int) -> None:
    expected = {1: Signal.PROVISIONAL, 2: Signal.SUCCESS}.get(status // 100, Signal.FAILURE)
    assert signal_of(status) is expected


class TestMatching:
    """Which message belongs to which transaction (sections 17.1.3, 17.2.3, 8.2.2.2)."""

    def setup_method(self) -> None:
        self.bench = Bench("server INVITE")
        self.layer = self.bench.layer

    def find(self, method: str, as_method: str | None = None, **changes: object) -> bool:
        message = parse(request(method, **changes))  # type: ignore[arg-type]
        assert isinstance(message, Request)
        return self.layer.find(message, as_method) is self.bench.machine

    def test_by_branch_sent_by_and_method(self) -> None:
        assert self.find("INVITE")
        assert self.find("INVITE", call_id="other")  # the branch alone counts
        assert not self.find("INVITE", branch="2")
        assert not self.find("OPTIONS")
        assert not self.find("INVITE", via="SIP/2.0/UDP 192.0.2.9:5063;branch=z9hG4bK1")
        assert not self.find("INVITE", via="SIP/2.0/UDP 192.0.2.8:5062;branch=z9hG4bK1")

    def test_ack_and_cancel_find_the_invite(self) -> None:
        assert self.find("ACK")
        assert not self.find("CANCEL")
        assert self.find("CANCEL", "INVITE")

    def test_a_sender_of_rfc_2543_has_no_branch(self) -> None:
        old = "SIP/2.0/UDP old.example.com"
        message = parse(request("INVITE", via=old))
        assert isinstance(message, Request)
        server = self.layer.serve(message, UDP)

        def found(method: str, **changes: object) -> bool:
            copy = parse(request(method, **({"via": old} | changes)))  # type: ignore[arg-type]
            assert isinstance(copy, Request)
            return self.layer.find(copy) is server

        assert found("INVITE")
        assert found("ACK", to="<sip:agent@192.0.2.1>;tag=ours")
        assert not found("INVITE", cseq=2)
        assert not found("INVITE", call_id="other")
        assert not found("INVITE", caller="<sip:bob@192.0.2.9>;tag=other")
        assert not found("INVITE", uri="sip:other@192.0.2.1")
        assert not found("INVITE", via="SIP/2.0/UDP other.example.com")

    def test_merged_requests(self) -> None:
        def merged(**changes: object) -> bool:
            message = parse(request("INVITE", **({"branch": "2"} | changes)))  # type: ignore[arg-type]
            assert isinstance(message, Request)
            return self.layer.is_merged(message)

        assert merged()
        assert not merged(cseq=2)
        assert not merged(call_id="other")
        assert not merged(caller="<sip:bob@192.0.2.9>;tag=other")
        assert not merged(to="<sip:agent@192.0.2.1>;tag=ours")
        self.bench.machine.abandon(0.0)
        assert not merged()

    def test_responses_find_their_request_by_branch_and_method(self) -> None:
        bench = Bench("client INVITE")
        good = parse(answer_to(bench.request, 180))
        other = parse(answer_to(bench.request, 180).replace(b"z9hG4bK", b"z9hG4bKx"))
        of_cancel = parse(answer_to(bench.request, 200).replace(b"1 INVITE", b"1 CANCEL"))
        assert isinstance(good, Response)
        assert isinstance(other, Response)
        assert isinstance(of_cancel, Response)
        assert not bench.layer.receive_response(other, UDP, 0.0)
        assert not bench.layer.receive_response(of_cancel, UDP, 0.0)
        assert bench.take() == []
        assert bench.layer.receive_response(good, UDP, 0.0)
        assert bench.take() == ["deliver"]


def test_the_ack_of_a_refusal_goes_the_way_of_the_invite() -> None:
    bench = Bench("client INVITE")
    bench.request.headers.add("Route", "<sip:proxy.example.com;lr>")
    bench.feed(Signal.FAILURE)
    (outgoing,) = bench.outbox.drain()
    ack = parse(outgoing.data)
    assert isinstance(ack, Request)
    assert (ack.method, ack.uri) == ("ACK", bench.request.uri)
    assert ack.headers.get_all("Via") == bench.request.headers.get_all("Via")
    assert ack.headers.get("Route") == "<sip:proxy.example.com;lr>"
    assert ack.headers.get("To") == "<sip:agent@192.0.2.1>;tag=callee"
    assert ack.headers.get("From") == bench.request.headers.get("From")
    assert ack.headers.get("CSeq") == "1 ACK"
    assert ack.headers.get("Max-Forwards") == "70"
