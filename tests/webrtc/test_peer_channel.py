"""The data channel, with aiortc's own peer connection at its other end."""

import asyncio

import pytest

from gateway.webrtc.peer import MAX_MESSAGE_BYTES
from tests.webrtc.parties import both_loops, call, no_defects, until

pytestmark = pytest.mark.peer


@both_loops
async def test_messages_go_both_ways() -> None:
    async with no_defects(), call(channel="whatever") as it:
        await it.connected()
        assert it.ear.told == ["connected", "opened whatever"]
        assert it.peer.channel_open
        for message in ("grün", b"\x00\x01", "", b""):
            it.browser.channel.send(message)
        await until(lambda: len(it.ear.messages) == 4)
        assert it.ear.messages == ["grün".encode(), b"\x00\x01", b"", b""]

        it.peer.send_message('{"text":"grün"}'.encode())
        await until(lambda: it.browser.messages)
        assert it.browser.messages == ['{"text":"grün"}']


async def test_the_first_channel_counts_and_others_are_let_be() -> None:
    async with call() as it:
        await it.connected()
        second = it.browser.pc.createDataChannel("second")
        await until(lambda: second.readyState == "open")
        second.send("lost")
        it.browser.channel.send("kept")
        await until(lambda: it.ear.messages)
        assert it.ear.messages == [b"kept"]
        assert it.ear.told == ["connected", "opened oai-events"]
        assert it.peer.counters.ignored_channels == 1


async def test_the_peer_closes_the_channel_alone() -> None:
    async with call() as it:
        await it.connected()
        it.browser.channel.close()
        await until(lambda: "closed" in it.ear.told)
        assert it.ear.told == ["connected", "opened oai-events", "closed"]
        assert not it.peer.channel_open
        it.peer.send_message(b"{}")
        heard = len(it.ear.rtp)
        await until(lambda: len(it.ear.rtp) > heard)


async def test_as_long_a_message_as_we_say_arrives() -> None:
    async with call() as it:
        await it.connected()
        assert it.browser.sctp._remote_max_message_size == MAX_MESSAGE_BYTES
        message = "x" * MAX_MESSAGE_BYTES
        it.browser.channel.send(message)
        await until(lambda: it.ear.messages)
        assert it.ear.messages == [message.encode()]
        assert it.peer.counters.dropped_dtls == it.peer.counters.dropped_sctp == 0


async def test_what_is_sent_waits_until_it_is_confirmed() -> None:
    async with call() as it:
        await it.connected()
        await until(lambda: it.peer.waiting_bytes == 0)  # that there is a channel counts too
        message = b"x" * 262_144  # all that aiortc takes
        for count in (1, 2):
            it.peer.send_message(message)
            assert it.peer.waiting_bytes == count * len(message)
        await asyncio.sleep(0)  # the first is under way, and the peer has confirmed some at most
        assert len(message) < it.peer.waiting_bytes <= 2 * len(message)
        await until(lambda: len(it.browser.messages) == 2)
        assert it.browser.messages == [message.decode()] * 2
        await until(lambda: it.peer.waiting_bytes == 0)


async def test_a_message_longer_than_the_peer_takes_is_refused() -> None:
    def small(offer: str) -> str:
        return offer.replace("a=max-message-size:262144", "a=max-message-size:1200")

    async with call(change=small) as it:
        await it.connected()
        with pytest.raises(ValueError, match="1200"):
            it.peer.send_message(b"x" * 1201)
        it.peer.send_message(b"x" * 1200)
        await until(lambda: it.browser.messages)


async def test_an_error_of_the_listener_is_no_packet_of_the_peer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reported: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    async with call() as it:
        await it.connected()
        keep = it.ear.message_received

        def fail(data: bytes) -> None:
            it.ear.message_received = keep  # type: ignore[method-assign]
            raise LookupError

        it.ear.message_received = fail  # type: ignore[method-assign]
        it.browser.channel.send("one")
        it.browser.channel.send("two")
        await until(lambda: it.ear.messages)
        assert it.ear.messages == [b"two"]
        assert [type(one["exception"]) for one in reported] == [LookupError]
        assert it.peer.counters.dropped_sctp == 0
