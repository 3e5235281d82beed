"""RTP and RTCP of one leg: order and time of what is heard, pressed keys, reports. Pure.

`RtpSession` is the door; the rest of the room is what it is made of.
"""

from gateway.rtp.config import RtpConfig
from gateway.rtp.dtmf import Digit
from gateway.rtp.latch import Source
from gateway.rtp.mos import estimate_mos
from gateway.rtp.payload import G711, OPUS, Clipped, PayloadFormat
from gateway.rtp.receiver import Heard
from gateway.rtp.session import RtpSession, RtpStats
from gateway.rtp.timeline import Lost

__all__ = [
    "G711",
    "OPUS",
    "Clipped",
    "Digit",
    "Heard",
    "Lost",
    "PayloadFormat",
    "RtpConfig",
    "RtpSession",
    "RtpStats",
    "Source",
    "estimate_mos",
]
