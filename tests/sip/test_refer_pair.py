"""A transfer over a simulated network: lost, doubled and overtaking messages, and races."""

import pytest

from gateway.sip.events import (
    Answered,
    CallEnded,
    IncomingCall,
    ReferAnswered,
    ReferProgress,
    SipEvent,
)
from tests.sip.network import Network, Node
from tests.sip.others import Script, Transferee, put, sent_by
from tests.sip.raw import SDP
from tests.sip.test_agent_pair import FREED_AFTER_S, losing

pytestmark = pytest.mark.pure

TARGET = "tel:+4930123456"
LAST = "terminated;reason=noresource"
BUSY = Script(reports=((0.5, 100, "active;expires=60"), (3.0, 486, LAST)))
REACHED = Script(reports=((0.5, 100, "active;expires=60"), (3.0, 200, LAST)))


class Transfer:
    """A telephone calls the gateway, which answers and a second later refers it elsewhere."""

    def __init__(self, net: Network, script: Script, *, hang_up_when_reached: bool = True) -> None:
        self.net = net
        self.phone_agent = Transferee(net, "10.0.0.1", script)
        self.phone = put(net, "10.0.0.1", self.phone_agent)
        self.gateway = net.node("10.0.0.2", on_event=self.hears)
        self.hang_up_when_reached = hang_up_when_reached
        to = self.gateway.address()
        self.phone_agent.invite("sip:agent@10.0.0.2", SDP, net.now, to=to, from_uri="sip:p@h")

    def hears(self, event: SipEvent, now: float) -> None:
        agent, dialog_id = self.gateway.agent, event.dialog_id
        if isinstance(event, IncomingCall):
            agent.accept(dialog_id, SDP, now)
        elif isinstance(event, Answered):
            self.net.at(1, lambda now: agent.refer(dialog_id, TARGET, now))
        elif isinstance(event, ReferProgress) and event.status == 200 and self.hang_up_when_reached:
            agent.hang_up(dialog_id, now)

    @property
    def told(self) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for event in self.gateway.told:
            if isinstance(event, ReferAnswered):
                found.append(("answered", event.status))
            elif isinstance(event, ReferProgress):
                found.append((event.status, event.over))
            elif isinstance(event, CallEnded):
                found.append((event.cause,))
        return found

    def nodes(self) -> tuple[Node, Node]:
        return self.phone, self.gateway


def test_reached() -> None:
    net = Network()
    transfer = Transfer(net, REACHED)
    net.run(6)
    assert transfer.told == [("answered", 202), (100, False), (200, True), ("local_bye",)]
    assert transfer.phone.only(CallEnded).cause == "remote_bye"
    assert transfer.phone_agent.seen.answers == [200, 200]
    net.run(FREED_AFTER_S)
    assert all(node.is_empty for node in transfer.nodes())


@pytest.mark.parametrize(
    "lost",
    [
        [b"REFER"] * 3,
        [b"SIP/2.0 202"] * 3,
        [b"NOTIFY"] * 3,
        [b"REFER", b"SIP/2.0 202", b"NOTIFY", b"NOTIFY"],
    ],
)
def test_whatever_is_lost_the_caller_comes_back(lost: list[bytes]) -> None:
    net = Network()
    transfer = Transfer(net, BUSY)
    net.run(0.5)
    losing(net, *lost)
    net.run(20)
    told = transfer.told
    assert (told[0], told[-1]) == (("answered", 202), (486, True))
    assert told[1:-1] in ([(100, False)], []), "one that was overtaken is not told"
    assert len(transfer.phone_agent.seen.refers) == 1, "a copy is no second REFER"
    assert transfer.gateway.agent.dialogs == 1
    transfer.phone_agent.hang_up(transfer.phone.only(Answered).dialog_id, net.now)
    net.run(FREED_AFTER_S)
    assert all(node.is_empty for node in transfer.nodes())


def test_a_lost_200_to_the_last_report() -> None:
    net = Network()
    transfer = Transfer(net, BUSY)
    net.run(3.9)
    losing(net, b"SIP/2.0 200", b"SIP/2.0 200")
    net.run(5)
    assert transfer.told[1:] == [(100, False), (486, True)], "copies are told once"
    assert len(sent_by(transfer.phone, "NOTIFY")) == 4
    assert transfer.phone_agent.seen.answers == [200, 200]


def test_reports_before_the_answer() -> None:
    net = Network()
    transfer = Transfer(net, Script(reports_first=True, reports=((2, 603, LAST),)))
    net.run(5)
    assert transfer.told == [("answered", 202), (100, False), (603, True)]


def test_the_phone_hangs_up_while_it_is_referred() -> None:
    net = Network()
    script = Script(reports=((0.5, 100, "active"), (3.0, 200, LAST)), hangs_up_after_s=1.0)
    transfer = Transfer(net, script)
    net.run(6)
    assert transfer.told == [("answered", 202), (100, False), ("remote_bye",)]
    net.run(FREED_AFTER_S)
    assert all(node.is_empty for node in transfer.nodes())


@pytest.mark.parametrize("delay_ms", range(960, 1060, 10))
def test_a_bye_that_crosses_the_refer(delay_ms: int) -> None:
    net = Network(delay_s=(0.02, 0.02))
    transfer = Transfer(net, BUSY)
    net.run(0.06)  # the call is up
    phone = transfer.phone.only(Answered).dialog_id
    net.at(delay_ms / 1000, lambda now: transfer.phone_agent.hang_up(phone, now))
    net.run(10)
    assert transfer.told[-1] in (("remote_bye",), ("refused",))
    assert len(transfer.gateway.all_told(CallEnded)) == 1
    net.run(FREED_AFTER_S)
    assert all(node.is_empty for node in transfer.nodes())


def test_both_are_given_up_at_once() -> None:
    """The gateway hangs up in the moment in which the last report leaves."""
    net = Network(delay_s=(0.02, 0.02))
    transfer = Transfer(net, BUSY)
    net.run(0.06)
    dialog_id = transfer.gateway.only(IncomingCall).dialog_id
    net.at(4.0, lambda now: transfer.gateway.agent.hang_up(dialog_id, now))
    net.run(6)
    assert transfer.told[-1] == ("local_bye",)
    net.run(FREED_AFTER_S)
    assert all(node.is_empty for node in transfer.nodes())


def test_two_refers_one_after_the_other() -> None:
    net = Network()
    transfer = Transfer(net, BUSY)
    net.run(6)
    transfer.phone_agent.script = REACHED
    dialog_id = transfer.gateway.only(IncomingCall).dialog_id
    transfer.gateway.agent.refer(dialog_id, "sip:dave@example.com", net.now)
    net.run(6)
    first = [("answered", 202), (100, False), (486, True)]
    second = [("answered", 202), (100, False), (200, True), ("local_bye",)]
    assert transfer.told == first + second
    targets = [one.headers.get("Refer-To") for one in transfer.phone_agent.seen.refers]
    assert targets == [f"<{TARGET}>", "<sip:dave@example.com>"]


@pytest.mark.parametrize("seed", range(40))
def test_on_a_bad_line(seed: int) -> None:
    net = Network(seed, loss=0.2, duplicate=0.2, delay_s=(0.005, 0.4))
    transfer = Transfer(net, REACHED if seed % 2 else BUSY)
    net.run(60)
    told = transfer.told
    assert (told[0], told.count(told[0])) == (("answered", 202), 1)
    last = (200, True) if seed % 2 else (486, True)
    assert told.count(last) == 1
    if seed % 2:
        assert told[-1] == ("local_bye",)
    else:
        transfer.phone_agent.hang_up(transfer.phone.only(Answered).dialog_id, net.now)
    assert len(transfer.phone_agent.seen.refers) == 1
    net.run(2 * FREED_AFTER_S)
    assert all(node.is_empty for node in transfer.nodes())
