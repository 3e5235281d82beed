"""Whatever peers and the application do, in whatever order: soon after the end nothing is left."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.sip.events import CallEnded
from gateway.sip.message import Request, Response
from tests.sip.raw import PEER, SDP, Desk, answer_to, request

pytestmark = pytest.mark.pure

FREED_AFTER_S = 64 * 0.5 + 4.0
"""64 T1 + T2."""
MAX_CALLS = 4

CALLERS = {
    "plain": ((), SDP),
    "late offer": ((), b""),
    "reliable": ((("Supported", "100rel, timer"),), SDP),
    "insisting": ((("Require", "100rel"), ("Supported", "timer"), ("x", "90;refresher=uas")), SDP),
    "refreshing": (
        (("Supported", "timer"), ("Allow", "UPDATE"), ("x", "90;refresher=uac"), ("Expires", "50")),
        SDP,
    ),
}
ASKED = {
    "ACK": ("ACK", (), b""),
    "BYE": ("BYE", (), b""),
    "INVITE": ("INVITE", (), SDP),
    "INVITE, late": ("INVITE", (), b""),
    "UPDATE": ("UPDATE", (("Supported", "timer"), ("x", "90;refresher=uas")), b""),
    "UPDATE, offer": ("UPDATE", (), SDP),
    "INFO": ("INFO", (), b""),
    "OPTIONS": ("OPTIONS", (), b""),
    "REFER": ("REFER", (("Refer-To", "<sip:x@h>"),), b""),
    "NOTIFY": ("NOTIFY", (("Event", "refer"), ("Subscription-State", "terminated")), b""),
}


class Calls(RuleBasedStateMachine):
    """One agent and peers that do as they please."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(accept_refer=True, accept_replaces=True, session_expires_s=90)
        self.numbers = 1
        self.incoming: dict[str, str] = {}
        """Call-ID by dialog id."""
        self.outgoing: list[str] = []
        self.open: list[Request] = []
        """Requests of ours that nobody has answered."""
        self.reliable: dict[str, tuple[str, str]] = {}
        """Dialog id to RSeq and CSeq number of the last reliable answer."""
        self.ended: list[str] = []

    def look(self) -> None:
        """Take in what the agent says and tells."""
        for message in self.desk.drain():
            if isinstance(message, Request) and message.method != "ACK":
                self.open = [*self.open[-9:], message]
            elif isinstance(message, Response) and message.headers.get("RSeq"):
                tag = (message.headers.get("To") or "").rpartition("tag=")[2]
                number = (message.headers.get("CSeq") or "").split()[0]
                self.reliable[tag] = (message.headers.get("RSeq") or "", number)
        for event in self.desk.events():
            if isinstance(event, CallEnded):
                self.ended.append(event.dialog_id)

    def next(self) -> int:
        self.numbers += 1
        return self.numbers

    @precondition(lambda self: len(self.incoming) < MAX_CALLS)
    @rule(kind=st.sampled_from(sorted(CALLERS)))
    def somebody_calls(self, kind: str) -> None:
        headers, body = CALLERS[kind]
        call_id = f"c{self.next()}"
        self.desk.send(
            request("INVITE", call_id=call_id, branch=call_id, headers=headers, body=body)
        )
        for event in self.desk.events():
            self.incoming[event.dialog_id] = call_id

    @precondition(lambda self: len(self.outgoing) < MAX_CALLS)
    @rule(late=st.booleans())
    def we_call(self, late: bool) -> None:
        body, to = None if late else SDP, PEER
        agent, now = self.desk.agent, self.desk.now
        self.outgoing.append(agent.invite("sip:b@h", body, now, to=to, from_uri="sip:me@h"))
        self.look()

    @precondition(lambda self: self.incoming)
    @rule(data=st.data(), kind=st.sampled_from(sorted(ASKED)))
    def a_caller_asks(self, data: st.DataObject, kind: str) -> None:
        dialog_id = data.draw(st.sampled_from(sorted(self.incoming)))
        method, headers, body = ASKED[kind]
        cseq = 1 if method == "ACK" else self.next()
        self.tell(dialog_id, method, cseq, headers, body)

    @precondition(lambda self: self.reliable)
    @rule(data=st.data(), body=st.sampled_from([b"", SDP]))
    def a_caller_acknowledges_progress(self, data: st.DataObject, body: bytes) -> None:
        dialog_id = data.draw(st.sampled_from(sorted(self.reliable)))
        rseq, number = self.reliable[dialog_id]
        if dialog_id in self.incoming:
            headers = (("RAck", f"{rseq} {number} INVITE"),)
            self.tell(dialog_id, "PRACK", self.next(), headers, body)

    @precondition(lambda self: self.incoming)
    @rule(data=st.data())
    def a_caller_gives_up(self, data: st.DataObject) -> None:
        call_id = self.incoming[data.draw(st.sampled_from(sorted(self.incoming)))]
        self.desk.agent.receive(
            request("CANCEL", call_id=call_id, branch=call_id), PEER, self.desk.now
        )
        self.look()

    @precondition(lambda self: self.open)
    @rule(
        data=st.data(),
        status=st.sampled_from([100, 180, 183, 200, 200, 202, 302, 405, 408, 422, 481, 486, 491]),
        tag=st.sampled_from(["one", "two"]),
        reliable=st.booleans(),
        body=st.sampled_from([b"", SDP]),
    )
    def a_peer_answers(
        self, data: st.DataObject, status: int, tag: str, reliable: bool, body: bytes
    ) -> None:
        asked = data.draw(st.sampled_from(self.open))
        headers = [("Min-SE", str(self.next() * 100)), ("x", "90;refresher=uac")]
        if reliable and status < 200:
            headers += [("Require", "100rel"), ("RSeq", str(self.next()))]
        has_tag = "tag=" in (asked.headers.get("To") or "")
        new_tag = None if has_tag else tag
        answer = answer_to(asked, status, tag=new_tag, headers=tuple(headers), body=body)
        self.desk.agent.receive(answer, PEER, self.desk.now)
        self.look()

    @precondition(lambda self: self.incoming or self.outgoing)
    @rule(
        data=st.data(),
        deed=st.sampled_from(
            ["ring", "early", "accept", "reject", "hang_up", "reinvite", "agree", "refuse", "ack"]
            + ["info", "refer", "follow", "report", "over"]
        ),
    )
    def the_application_acts(self, data: st.DataObject, deed: str) -> None:
        agent, now = self.desk.agent, self.desk.now
        call = data.draw(st.sampled_from(sorted([*self.incoming, *self.outgoing])))
        number = str(self.numbers)
        deeds = {
            "ring": lambda: agent.ring(call, now),
            "early": lambda: agent.progress(call, 183, SDP, now),
            "accept": lambda: agent.accept(call, SDP, now),
            "reject": lambda: agent.reject(call, 486, now),
            "hang_up": lambda: agent.hang_up(call, now),
            "reinvite": lambda: agent.reinvite(call, SDP, now),
            "agree": lambda: agent.answer_offer(call, SDP, now),
            "refuse": lambda: agent.refuse_offer(call, 488, now),
            "ack": lambda: agent.ack(call, SDP, now),
            "info": lambda: agent.info(call, "application/dtmf", b"5", now),
            "refer": lambda: agent.refer(call, "sip:x@h", now),
            "follow": lambda: agent.answer_refer(call, number, 202, now),
            "report": lambda: agent.report_refer(call, number, 180, False, now),
            "over": lambda: agent.report_refer(call, number, 200, True, now),
        }
        deeds[deed]()
        self.look()

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 33.0, 50.0]))
    def time_passes(self, seconds: float) -> None:
        end = self.desk.now + seconds
        while (when := self.desk.agent.next_timeout()) is not None and when <= end:
            self.desk.now = max(self.desk.now, when)
            self.desk.agent.timeout(self.desk.now)
            self.look()
        self.desk.now = end

    @invariant()
    def every_call_ends_once(self) -> None:
        assert len(self.ended) == len(set(self.ended))

    @invariant()
    def every_request_is_somebodys_to_answer(self) -> None:
        assert self.desk.forgotten == []

    def teardown(self) -> None:
        for call in [*self.incoming, *self.outgoing]:
            self.desk.agent.hang_up(call, self.desk.now)
        self.look()
        self.time_passes(FREED_AFTER_S)
        self.time_passes(0.001)
        agent = self.desk.agent
        assert (agent.dialogs, agent.transactions, agent.timers) == (0, 0, 0)
        assert sorted(self.ended) == sorted([*self.incoming, *self.outgoing])

    def tell(
        self,
        dialog_id: str,
        method: str,
        cseq: int,
        headers: tuple[tuple[str, str], ...],
        body: bytes,
    ) -> None:
        fields = {"call_id": self.incoming[dialog_id], "branch": f"b{self.next()}", "cseq": cseq}
        message = self.desk.within(method, dialog_id, headers=headers, body=body, **fields)
        self.desk.agent.receive(message, PEER, self.desk.now)
        self.look()


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
