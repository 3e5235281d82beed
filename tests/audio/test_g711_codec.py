"""G.711 as the codec of a leg: untouched where nothing is to be done, translated where there is."""

import pytest

from gateway.audio import g711
from gateway.audio.codec import Codec
from gateway.audio.conceal import Concealer
from gateway.audio.formats import PCMA, PCMU, AudioFormat, Law
from gateway.audio.g711_codec import G711Codec

pytestmark = pytest.mark.pure

FORMATS: dict[Law, AudioFormat] = {"pcmu": PCMU, "pcma": PCMA}
LAWS: list[Law] = ["pcmu", "pcma"]
OTHER: dict[Law, Law] = {"pcmu": "pcma", "pcma": "pcmu"}
each_law = pytest.mark.parametrize("law", LAWS)


def frame(law: Law, number: int) -> bytes:
    """Something with a period, another phase in each frame."""
    return bytes((number * 7 + at * 3) % 100 + 100 for at in range(160))


def other(audio: bytes, law: Law) -> bytes:
    return audio.translate(g711.TRANSLATE[law])


@each_law
def test_where_both_ends_speak_one_law_bytes_pass_through(law: Law) -> None:
    codec: Codec = G711Codec(law, 20)
    assert codec.format == FORMATS[law]
    for number in range(20):
        payload = frame(law, number)
        assert codec.heard(payload) is payload
        assert codec.encode(payload) is payload


@each_law
def test_where_they_differ_bytes_are_translated_both_ways(law: Law) -> None:
    codec = G711Codec(law, 20)
    codec.wire(OTHER[law])
    assert codec.format == FORMATS[law]
    payload = bytes(range(256))
    assert codec.heard(payload) == other(payload, OTHER[law])
    assert codec.encode(payload) == other(payload, law)
    codec.wire(law)
    assert codec.heard(payload) is payload
    assert codec.encode(payload) is payload


@each_law
@pytest.mark.parametrize("packet_ms", [10, 20, 30, 60])
def test_silence_is_a_packet_in_the_law_of_the_wire(law: Law, packet_ms: int) -> None:
    codec = G711Codec(law, packet_ms)
    assert codec.encode(None) == FORMATS[law].silence(packet_ms * 8)
    codec.wire(OTHER[law])
    assert codec.encode(None) == FORMATS[OTHER[law]].silence(packet_ms * 8)


@each_law
@pytest.mark.parametrize("same", [True, False])
def test_losses_are_concealed_in_the_joined_law(law: Law, same: bool) -> None:
    """A change of law in the middle does not make it forget what was heard."""
    codec, concealer = G711Codec(law, 20), Concealer(FORMATS[law])

    def arrives(number: int) -> bytes:
        return frame(law, number) if same else other(frame(law, number), law)

    def joined(number: int) -> bytes:
        return frame(law, number) if same else other(arrives(number), OTHER[law])

    if not same:
        codec.wire(OTHER[law])
    for number in range(10):
        assert codec.heard(arrives(number)) == concealer.heard(joined(number))
    for samples in (160, 33, 800):
        made_up = concealer.lost(samples)
        assert codec.lost(samples, arrives(11)) == made_up
        assert len(made_up) == samples
    assert codec.clipped(arrives(12), 60) == concealer.heard(joined(12)[60:])
    assert codec.lost(160, None) == concealer.lost(160)
    assert codec.heard(arrives(13)) == concealer.heard(joined(13))


def test_a_change_of_law_keeps_what_was_heard() -> None:
    codec, concealer = G711Codec("pcmu", 20), Concealer(PCMU)
    for number in range(10):
        concealer.heard(codec.heard(frame("pcmu", number)))
    codec.wire("pcma")
    assert codec.lost(160, None) == concealer.lost(160)


def test_a_report_of_losses_changes_nothing() -> None:
    codec = G711Codec("pcmu", 20)
    codec.reported_loss(0.5)
    payload = frame("pcmu", 1)
    assert codec.encode(payload) is payload
