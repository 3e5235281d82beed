"""Messages cut out of a stream, wherever the network cuts the stream."""

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sip.errors import SipError
from gateway.sip.message import MAX_MESSAGE_BYTES
from gateway.sip.stream import StreamFramer

pytestmark = pytest.mark.pure

HEAD = (
    b"OPTIONS sip:b@example.com SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKx\r\n"
    b"From: <sip:a@example.com>;tag=1\r\nTo: <sip:b@example.com>\r\nCall-ID: c\r\n"
    b"CSeq: 1 OPTIONS\r\n"
)


def message(body: bytes = b"", length: bytes = b"Content-Length: %d\r\n") -> bytes:
    return HEAD + (length % len(body) if b"%d" in length else length) + b"\r\n" + body


def fed(pieces: Iterable[bytes]) -> tuple[list[bytes], bytes]:
    framer = StreamFramer()
    messages = [whole for piece in pieces for whole in framer.feed(piece)]
    return messages, framer.replies()


MESSAGES = [
    message(b"one\r\n\r\ntwo"),
    message(),
    message(b"\r\n\r\n"),
    message(b"x", b"l : %d\r\n"),
    message(b"y", b"CONTENT-LENGTH:\r\n \t%d\r\n"),
]
STREAM = b"\r\n".join(MESSAGES) + b"\r\n\r\n\r\n\r\n" + MESSAGES[0]


def test_in_one_piece() -> None:
    assert fed([STREAM]) == ([*MESSAGES, MESSAGES[0]], b"\r\n" * 2)


def test_cut_at_every_byte() -> None:
    for at in range(len(STREAM) + 1):
        assert fed([STREAM[:at], STREAM[at:]]) == ([*MESSAGES, MESSAGES[0]], b"\r\n" * 2), at


def test_byte_by_byte() -> None:
    assert fed(bytes((byte,)) for byte in STREAM) == ([*MESSAGES, MESSAGES[0]], b"\r\n" * 2)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_cut_anywhere(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    assert fed(pieces) == ([*MESSAGES, MESSAGES[0]], b"\r\n" * 2)


def test_a_message_comes_out_with_its_last_byte() -> None:
    framer = StreamFramer()
    assert list(framer.feed(MESSAGES[0][:-1])) == []
    assert list(framer.feed(MESSAGES[0][-1:])) == [MESSAGES[0]]


def test_keepalives() -> None:
    framer = StreamFramer()
    assert list(framer.feed(b"\r\n\r\n")) == []
    assert framer.replies() == b"\r\n"
    assert framer.replies() == b""
    assert list(framer.feed(b"\r\n")) == []
    assert framer.replies() == b""  # half of one so far
    assert list(framer.feed(b"\r\n\r")) == []
    assert framer.replies() == b"\r\n"
    assert list(framer.feed(b"\n" + MESSAGES[1])) == [MESSAGES[1]]
    assert framer.replies() == b""


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (message(b"", b""), 400, "Missing Content-Length Header"),
        (message(b"", b"Content-Length: 0\r\nl: 0\r\n"), 400, "Multiple Content-Length Headers"),
        (message(b"", b"Content-Length: x\r\n"), 400, "Malformed Content-Length Header"),
        (message(b"", b"Content-Length: -1\r\n"), 400, "Malformed Content-Length Header"),
        (message(b"", b"Content-Length: 1\r\n 2\r\n"), 400, "Malformed Content-Length Header"),
        (message(b"", b"Content-Length: 1\n2\r\n"), 400, "Malformed Content-Length Header"),
        (message(b"", b"Content-Length:\r\n"), 400, "Malformed Content-Length Header"),
        (message(b"", b"Content-Length: 65535\r\n"), 513, "Message Too Large"),
        (message(b"", b"Content-Length: 9999999999\r\n"), 513, "Message Too Large"),
        (HEAD + b"X: " + b"x" * MAX_MESSAGE_BYTES, 513, "Message Too Large"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_where_the_stream_ends(data: bytes, status: int, reason: str, size: int) -> None:
    if len(data) > 10_000 and size < 7:
        size = 4096  # byte by byte would only take long
    framer = StreamFramer()
    stream = MESSAGES[0] + data + MESSAGES[1]
    good = []
    with pytest.raises(SipError) as caught:
        for at in range(0, len(stream), size):
            for whole in framer.feed(stream[at : at + size]):
                good.append(whole)
    assert good == [MESSAGES[0]]  # what was whole before the fault is not lost
    assert (caught.value.status, caught.value.reason) == (status, reason)
    assert caught.value.request is not None
    assert caught.value.request.headers.get("CSeq") == "1 OPTIONS"
    assert list(framer.feed(MESSAGES[1] * 1000)) == []


def test_the_largest_message() -> None:
    empty = len(message(b"", b"Content-Length: 65000\r\n"))
    largest = message(b"b" * (MAX_MESSAGE_BYTES - empty))
    assert len(largest) == MAX_MESSAGE_BYTES
    assert fed([largest, largest]) == ([largest, largest], b"")


def test_garbage_has_nobody_to_answer() -> None:
    for garbage in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\0" * (MAX_MESSAGE_BYTES + 1)):
        with pytest.raises(SipError) as caught:
            list(StreamFramer().feed(garbage))
        assert caught.value.request is None
    response = b"SIP/2.0 200 OK\r\n" + HEAD.partition(b"\r\n")[2] + b"\r\n"
    with pytest.raises(SipError) as caught:
        list(StreamFramer().feed(response))
    assert caught.value.request is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([*MESSAGES, b"\r\n"])), max_size=8)
)
def test_any_bytes(pieces: list[bytes]) -> None:
    framer = StreamFramer()
    try:
        for piece in pieces:
            for whole in framer.feed(piece):
                assert b"\r\n\r\n" in whole
    except SipError as error:
        assert error.status in (400, 513)
