import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rtp.rtcp import (
    Goodbye,
    ReceiverReport,
    ReportBlock,
    RtcpError,
    RtcpPacket,
    SenderReport,
    SourceDescription,
    build_compound,
    parse_compound,
)

pytestmark = pytest.mark.pure

word = st.integers(0, 0xFFFFFFFF)
name = st.text(max_size=60).filter(lambda text: "\0" not in text and len(text.encode()) <= 255)
blocks = st.lists(
    st.builds(
        ReportBlock,
        ssrc=word,
        fraction_lost=st.integers(0, 255),
        cumulative_lost=st.integers(-0x800000, 0x7FFFFF),
        highest_sequence=word,
        jitter=word,
        last_sr=word,
        delay_since_last_sr=word,
    ),
    max_size=31,
).map(tuple)
reports = st.one_of(
    st.builds(
        SenderReport,
        ssrc=word,
        ntp=st.integers(0, 2**64 - 1),
        rtp_timestamp=word,
        packets=word,
        octets=word,
        reports=blocks,
    ),
    st.builds(ReceiverReport, ssrc=word, reports=blocks),
)
others = st.one_of(
    reports,
    st.builds(SourceDescription, st.lists(st.tuples(word, name), max_size=5).map(tuple)),
    st.builds(Goodbye, st.lists(word, max_size=5).map(tuple), name),
)
compounds = st.tuples(reports, st.lists(others, max_size=3)).map(
    lambda parts: [parts[0], *parts[1]]
)


@given(compounds)
@settings(max_examples=150, deadline=None)
def test_a_compound_survives_the_wire(compound: list[RtcpPacket]) -> None:
    data = build_compound(compound)
    assert len(data) % 4 == 0
    assert parse_compound(data) == compound


def test_a_sender_report_byte_by_byte() -> None:
    block = ReportBlock(0x22222222, 64, -1, 0x00010005, 7, 0x89ABCDEF, 0x00010000)
    report = SenderReport(0x11111111, 0x0123456789ABCDEF, 160, 2, 320, (block,))
    expected = bytes.fromhex(
        "81c8000c 11111111 01234567 89abcdef 000000a0 00000002 00000140"
        "22222222 40ffffff 00010005 00000007 89abcdef 00010000"
    )
    assert build_compound([report]) == expected


def test_a_description_and_a_goodbye_byte_by_byte() -> None:
    data = build_compound(
        [ReceiverReport(1), SourceDescription(((1, "ab"),)), Goodbye((1,), "bye")]
    )
    assert data == bytes.fromhex(
        "80c90001 00000001 81ca0003 00000001 01026162 00000000 81cb0002 00000001 03627965"
    )


def test_items_and_kinds_that_are_not_used_are_passed_over() -> None:
    tool_and_cname = b"\x06\x03abc" + b"\x01\x02me" + b"\0" * 3
    description = b"\x81\xca" + (4).to_bytes(2, "big") + b"\0\0\0\5" + tool_and_cname
    feedback = b"\x81\xcd\x00\x02" + bytes(8)
    data = build_compound([ReceiverReport(5)]) + description + feedback
    assert parse_compound(data) == [ReceiverReport(5), SourceDescription(((5, "me"),))]


def test_padding_of_the_last_packet_is_no_content() -> None:
    padded = b"\xa0\xc9\x00\x02\x00\x00\x00\x07" + b"\0\0\0\4"
    assert parse_compound(padded) == [ReceiverReport(7)]


def test_profile_extensions_after_the_blocks_are_passed_over() -> None:
    data = b"\x80\xc9\x00\x02\x00\x00\x00\x07" + b"more"
    assert parse_compound(data) == [ReceiverReport(7)]


RR = "80c90001 00000001"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "empty"),
        ("80c9", "header"),
        ("40c90001 00000001", "version"),
        ("80c90002 00000001", "cut off"),
        ("81cb0001 00000001", "begins with a report"),
        ("80c80001 00000001", "sender report"),
        ("80c90000", "receiver report"),
        ("81c90001 00000001", "report block"),
        (RR + "81ca0000", "description"),
        (RR + "81ca0002 00000001 01ff6162", "item"),
        (RR + "82cb0001 00000001", "goodbye"),
        (RR + "81cb0002 00000001 ff627965", "reason"),
        ("a0c90002 00000007 00000000", "padding"),
        ("a0c90002 00000007 0000000c", "padding"),
        ("a0c90002 00000007 00000003", "padding"),
        ("a0c90002 00000007 00000004" + RR, "padding"),
    ],
)
def test_what_is_no_compound(data: str, why: str) -> None:
    with pytest.raises(RtcpError, match=why):
        parse_compound(bytes.fromhex(data))


@given(st.binary(max_size=120))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_packets_or_the_error(data: bytes) -> None:
    try:
        assert parse_compound(data)
    except RtcpError:
        pass


@given(compounds, st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_compound_gives_packets_or_the_error(
    compound: list[RtcpPacket], data: st.DataObject
) -> None:
    wire = bytearray(build_compound(compound))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(wire)))
    try:
        parse_compound(bytes(wire[:cut]))
    except RtcpError:
        pass


def test_values_too_wide_are_cut_and_the_loss_is_limited() -> None:
    block = ReportBlock(1, 300, 0x1000000, 2**32 + 1, 2, 3, 4)
    (report,) = parse_compound(build_compound([ReceiverReport(9, (block,))]))
    assert isinstance(report, ReceiverReport)
    assert report.reports[0].cumulative_lost == 0x7FFFFF
    assert report.reports[0].highest_sequence == 1
    assert report.reports[0].fraction_lost == 300 & 0xFF


def test_more_blocks_than_fit_are_the_callers_mistake() -> None:
    block = ReportBlock(1, 0, 0, 0, 0)
    with pytest.raises(ValueError, match="31"):
        build_compound([ReceiverReport(1, (block,) * 32)])
