"""A fuzzer for what reads SIP: the parser, the framer of streams, and the agent in mid-call.

`python -m tests.fuzz.sip --seconds 300` looks for an input that makes them raise anything but what
they say they raise. Needs atheris; it begins with valid messages, and with those of RFC 4475 where
they are.
"""

import itertools
import random

from tests.fuzz.target import begin, instrumented

with instrumented():
    from gateway.sip.errors import SipError
    from gateway.sip.message import Request
    from gateway.sip.parse import parse
    from gateway.sip.stream import StreamFramer
    from tests.sip.phases import drain, messages_of_calls
    from tests.sip.raw import PEER, PEER_TCP, Desk

AGENT_LIVES = 200
"""Inputs, before there is another agent with calls of its own."""


def desks() -> "itertools.chain[Desk]":
    """Agents in mid-call, each for a number of inputs."""

    def one() -> Desk:
        desk = new_desk()
        messages_of_calls(desk)
        return desk

    return itertools.chain.from_iterable(
        itertools.repeat(one(), AGENT_LIVES) for _ in itertools.count()
    )


def new_desk() -> Desk:
    return Desk(accept_refer=True, accept_replaces=True)


def read_back(data: bytes) -> None:
    """What was understood is understood again when we say it."""
    try:
        message = parse(data)
    except SipError:
        return
    again = parse(message.to_bytes())
    assert type(again) is type(message) and again.body == message.body
    if isinstance(message, Request) and isinstance(again, Request):
        assert (again.method, again.uri) == (message.method, message.uri)


def framed(data: bytes, desk: Desk) -> None:
    """The same in two pieces on a connection; the first byte says where it is cut."""
    framer, cut = StreamFramer(), data[0] if data else 0
    try:
        for piece in (data[1:cut], data[max(cut, 1) :]):
            for message in framer.feed(piece):
                desk.agent.receive(message, PEER_TCP, desk.now)
    except SipError as error:
        desk.agent.refuse(error, PEER_TCP, desk.now)


if __name__ == "__main__":
    agents = desks()

    def one_input(data: bytes) -> None:
        desk = next(agents)
        read_back(data)
        desk.agent.receive(data, PEER, desk.now)
        framed(data, desk)
        drain(desk, random.Random(data))
        desk.skip(0.1)

    begin(one_input, messages_of_calls(new_desk()))
