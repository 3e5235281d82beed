"""The torture messages of RFC 4475, sent byte for byte to a gateway that serves calls.

They lie beside the checkout, not in it: without them the tests skip. What each deserves is said in
the RFC, section by section; where it leaves a choice, the table below has all that it allows.
"""

import re
import time

import pytest

from tests.peers.gateway import ROOT, eventually
from tests.peers.line import Line
from tests.peers.wire import Caller, Message, TcpWire, UdpWire, Wire

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.usefixtures("meanwhile")]

CORPUS = ROOT.parent / "shared" / "data" / "rfc4475"

NOTHING = frozenset[int]()
DESERVED: dict[str, frozenset[int]] = {
    name: frozenset(statuses)
    for name, statuses in {
        # 3.1.1 valid
        "wsinv": {481},  # valid, but of a call that we do not know: it has a tag in its To
        "intmeth": {405, 501},
        "esc01": {200},
        "escnull": {405},
        "esc02": {405, 501},
        "lwsdisp": {200},
        "longreq": {200},
        "dblreq": {405},
        "semiuri": {200},
        "transports": {200},
        "mpart01": {405},
        "unreason": NOTHING,
        "noreason": NOTHING,
        # 3.1.2 invalid
        "badinv01": {400},
        "clerr": {400},
        "ncl": {400},
        "scalar02": {400},
        "scalarlg": NOTHING,
        "quotbal": {400},
        "ltgtruri": {400},
        "lwsruri": {400},
        "lwsstart": {400},
        "trws": {400},
        "escruri": {400},
        "baddate": {400, 200},
        "regbadct": {400, 405},
        "badaspec": {400, 200},
        "baddn": {400, 200},
        "badvers": {505},
        "mismatch01": {400},
        "mismatch02": {400, 501},
        "bigcode": NOTHING,
        # 3.2 to 3.4: transactions, applications, RFC 2543
        "badbranch": {400, 200},
        "insuf": {400},
        "unkscm": {416},
        "novelsc": {416},
        "unksm2": {400, 405},
        "bext01": {420},
        "invut": {415},
        "regaut01": {405},
        "multi01": {400},
        "mcl01": {400},
        "bcast": NOTHING,
        "zeromf": {200, 483},
        "cparam01": {405},
        "cparam02": {405},
        "regescrt": {405},
        "sdp01": {406},
        "inv2543": {200},
    }.items()
}
DESERVED_ON_STREAMS = DESERVED | {
    "clerr": NOTHING,  # the rest of the body may still come
    "baddn": NOTHING,  # its last line, the empty one, is missing
    "inv2543": frozenset({400}),  # without a Content-Length nobody knows where it ends
}

VIA_PORTS = (5060, 5050, 5061)
"""Where their Via headers have answers sent, at the address that they came from."""

_VIA_PARAMETERS = re.compile(r";(received|rport)(=[^;]*)?")


def corpus(name: str) -> bytes:
    if not CORPUS.is_dir():
        pytest.skip(f"{CORPUS} is not there")
    return (CORPUS / f"{name}.dat").read_bytes()


def finish(wire: Wire, final: Message) -> None:
    """Do what the sender of an INVITE has to do after a final response."""
    success = 200 <= final.status < 300
    number = final.header("cseq").split()[0]
    target = final.contact_uri if success else "sip:user@example.com"
    via = f"SIP/2.0/{wire.name} {wire.address[0]}:{wire.address[1]};branch=z9hG4bK-{time.time_ns()}"
    if not success:
        via = _VIA_PARAMETERS.sub("", final.header("via"))
    requests = [("ACK", int(number))] + ([("BYE", int(number) + 1)] if success else [])
    for method, cseq in requests:
        lines = [
            f"{method} {target} SIP/2.0",
            f"Via: {via}",
            "Max-Forwards: 70",
            *(f"{name}: {final.header(name)}" for name in ("From", "To", "Call-ID")),
            f"CSeq: {cseq} {method}",
            "Content-Length: 0",
        ]
        wire.send(("\r\n".join(lines) + "\r\n\r\n").encode())
        via = f"{via}-bye"


def answers(wire: Wire, timeout_s: float) -> list[Message]:
    """All final responses that come, each acknowledged; waits a little beyond the last."""
    found = []
    deadline = time.monotonic() + timeout_s
    while (message := wire.receive(deadline - time.monotonic())) is not None:
        if message.status >= 200:
            deadline = time.monotonic() + 0.05
            if message.method == "INVITE":
                finish(wire, message)
            if message.method != "BYE":
                found.append(message)
    return found


def still_serves(line: Line) -> bool:
    with Caller(UdpWire(line.gateway.sip), line.gateway.sip) as caller:
        caller.wire.send(caller.request("OPTIONS", cseq=1))
        return caller.final("OPTIONS", timeout_s=1).status == 200


def check(name: str, got: list[Message], deserved: frozenset[int]) -> None:
    statuses = [message.status for message in got]
    if deserved:
        assert statuses and statuses[0] in deserved, f"{name} got {statuses or 'nothing'}"
    else:
        assert not statuses, f"{name} got {statuses}"
    for message in got:
        for status, header in ((405, "allow"), (415, "accept"), (420, "unsupported")):
            assert message.status != status or message.header(header), f"{name}: no {header}"


def test_the_table_names_every_message() -> None:
    corpus("wsinv")
    assert {path.stem for path in CORPUS.glob("*.dat")} - set(DESERVED) == {"test"}


@pytest.mark.parametrize("name", [*DESERVED, "test"])
def test_over_udp(line: Line, name: str) -> None:
    data = corpus(name)
    wire = UdpWire(line.gateway.sip, "127.0.0.7", *VIA_PORTS)
    try:
        wire.send(data)
        got = answers(wire, 1.0 if DESERVED.get(name) else 0.2)
    finally:
        wire.close()
    if name in DESERVED:
        check(name, got, DESERVED[name])
    assert still_serves(line)


@pytest.mark.parametrize("name", [*DESERVED, "test"])
def test_over_tcp(stream_line: Line, name: str) -> None:
    data = corpus(name)
    wire = TcpWire(stream_line.gateway.sip)
    try:
        wire.send(data)
        got = answers(wire, 1.0 if DESERVED_ON_STREAMS.get(name) else 0.2)
        if name == "dblreq":
            first, second = (message.status for message in got)
            assert first == 405 and second in (200, 400, 488)  # "m =video" in its SDP
        if name in DESERVED:
            check(name, got, DESERVED_ON_STREAMS[name])
    finally:
        wire.close()
    assert still_serves(stream_line)


def test_nobody_is_left_on_the_line(line: Line) -> None:
    """Transactions take their half minute; `test_zero` waits for them."""
    assert eventually(lambda: line.gateway.metrics()["gateway_calls_active"] == 0, 3)
    assert not line.gateway.complaints()
