"""Arithmetic on counters that wrap (RFC 3550 section 5.1, RFC 1982).

RTP numbers packets with 16 bits and samples with 32. Both start anywhere and wrap in every long
call, so "later" can only mean: nearer in the forward direction than in the backward one. The
differences below are therefore signed, and exact as long as two values lie less than half the
number space apart.
"""


def sequence_delta(later: int, earlier: int) -> int:
    """How many packets `later` is ahead of `earlier`: -32768 to 32767."""
    return ((later - earlier + 0x8000) & 0xFFFF) - 0x8000


def timestamp_delta(later: int, earlier: int) -> int:
    """How many samples `later` is ahead of `earlier`: -2**31 to 2**31 - 1."""
    return ((later - earlier + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
