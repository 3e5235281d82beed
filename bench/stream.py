"""Media of one simulated caller: marked RTP out, measurements of the RTP that comes back.

Every 20 ms one packet leaves. Every five seconds a key is pressed for 100 ms: as on a real
phone, telephone-event packets then take the place of the audio (RFC 4733 section 2.5).
"""

import time
from array import array
from random import Random
from struct import Struct, pack

from bench import marks
from bench.caller import DIGIT_TYPE
from bench.coding import Coding
from bench.marks import MEASURED, NEAR_KEY

FRAME_NS = 20_000_000
CYCLE_FRAMES = 250  # audio, and at its end one key press
KEY_FRAMES = 6  # five packets while the key is down, then the end of it
FIRST_KEY_FRAME = CYCLE_FRAMES - KEY_FRAMES
NEAR_KEY_FRAMES = 15  # marks this close to a key press may be cut by the interruption it causes
_NTP_EPOCH_S = 2_208_988_800

_HEADER = Struct("!BBHII")
_SEQUENCE_AND_TIME = Struct("!HI")
_EVENT = Struct("!BBH")
_FRAME = marks.unmarked_frame()


class Stream:
    """One direction out, one direction in.

    Args:
        number: which call this is; spreads key presses and reports of many calls over time.
        remote: where to send RTP.
        coding: of the frames, both ways.
        keys: press keys; otherwise the audio never pauses.
    """

    def __init__(self, number: int, remote: tuple[str, int], coding: Coding, *, keys: bool) -> None:
        self.remote = remote
        self.sent = self.sent_measured = self.countable = self.keys = 0
        """`sent_measured` frames carried the measured flag, `countable` of them no key near."""
        self.received = self.duplicates = self.lost = 0
        """Of RTP in the measured window; `lost` after `finish`."""
        self.returned = self.returned_countable = self.repeated = 0
        self.round_trips_ns = array("q")
        self.arrivals_ns = array("q")
        """Arrival less the packet's own media time: constant in a perfectly paced stream."""
        self._number = number
        self._random = Random(number)
        self._ssrc = self._random.getrandbits(32)
        self._sequence = self._random.getrandbits(16)
        self._timestamp = self._random.getrandbits(32)
        self._keys = keys
        self._cycle = CYCLE_FRAMES if keys else FIRST_KEY_FRAME
        self._frame = number * 37 % FIRST_KEY_FRAME  # place in the cycle
        self._key_started = 0
        self._coding = coding
        self._audio = bytearray(_FRAME)
        self._octets = 0
        self._reader = marks.MarkReader(coding.format)
        self._lowest = self._highest = -1
        self._first_timestamp = 0

    # Out.

    def next_packets(self, measured: bool) -> list[bytes]:
        """The packets of the next 20 ms."""
        frame = self._frame
        self._frame = (frame + 1) % self._cycle
        if frame >= FIRST_KEY_FRAME:
            return self._key(frame - FIRST_KEY_FRAME)
        flags = 0
        if measured:
            self.sent_measured += 1
            flags = MEASURED
            if NEAR_KEY_FRAMES <= frame < FIRST_KEY_FRAME - NEAR_KEY_FRAMES or not self._keys:
                self.countable += 1
            else:
                flags |= NEAR_KEY
        marks.write(self._audio, 0, flags, self.sent, time.time_ns())
        coding = self._coding
        payload = coding.encode(self._audio)
        kind, sequence, timestamp = coding.payload_type, self._sequence, self._timestamp
        self.sent += 1
        self._octets += len(payload)
        self._sequence = sequence + 1 & 0xFFFF
        self._timestamp = timestamp + coding.clock_step & 0xFFFFFFFF
        return [_HEADER.pack(0x80, kind, sequence, timestamp, self._ssrc) + payload]

    def _key(self, step: int) -> list[bytes]:
        """Step 0 to 4: the key is down. Step 5: it is up, said three times."""
        if step == 0:
            self._key_started = self._timestamp
            self.keys += 1
        clock_step = self._coding.clock_step
        self._timestamp = self._timestamp + clock_step & 0xFFFFFFFF
        up = step == KEY_FRAMES - 1
        duration = clock_step * (step + 1)
        payload = _EVENT.pack(self.keys % 10, 0x8A if up else 0x0A, duration)
        packets: list[bytes] = []
        for _ in range(3 if up else 1):
            kind = DIGIT_TYPE | (0x80 if step == 0 else 0)
            header = _HEADER.pack(0x80, kind, self._sequence, self._key_started, self._ssrc)
            packets.append(header + payload)
            self._sequence = self._sequence + 1 & 0xFFFF
        return packets

    def report(self) -> bytes:
        """An RTCP sender report and the name that must follow it (RFC 3550 section 6.1)."""
        seconds, part = divmod(time.time_ns(), 1_000_000_000)
        name = b"bench%d" % self._number
        name += bytes(4 - (len(name) + 2) % 4)  # ends with a zero, padded to whole words
        report = pack(
            "!BBHIIIIII",
            *(0x80, 200, 6, self._ssrc),
            *(seconds + _NTP_EPOCH_S & 0xFFFFFFFF, (part << 32) // 1_000_000_000),
            *(self._timestamp, self.sent, self._octets & 0xFFFFFFFF),
        )
        text = bytes((1, len(name.rstrip(b"\0")))) + name
        return report + pack("!BBHI", 0x81, 202, 1 + len(text) // 4, self._ssrc) + text

    # In.

    def receive(self, data: bytes, arrival_ns: int, measured: bool) -> None:
        """An RTP packet came in at this unix time; `measured` when inside the window."""
        if len(data) < 12 or data[1] & 0x7F != self._coding.payload_type:
            return
        for mark in self._reader.read(self._coding.decode(data[_HEADER.size :]), arrival_ns):
            if mark.repeated:
                self.repeated += 1
            elif mark.flags & MEASURED:
                self.returned += 1
                self.returned_countable += not mark.flags & NEAR_KEY
                self.round_trips_ns.append(mark.delay_ns)
        if not measured:
            return
        sequence, timestamp = _SEQUENCE_AND_TIME.unpack_from(data, 2)
        if not self.received:
            self._lowest = self._highest = sequence
            self._first_timestamp = timestamp
        else:
            step = ((sequence - self._highest + 0x8000) & 0xFFFF) - 0x8000
            if step > 0:
                self._highest += step
            elif step == 0:
                self.duplicates += 1
        self.received += 1
        media = ((timestamp - self._first_timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
        self.arrivals_ns.append(arrival_ns - media * FRAME_NS // self._coding.clock_step)

    def finish(self) -> None:
        """The window is over: count what is missing in it."""
        if self.received:
            expected = self._highest - self._lowest + 1
            self.lost = max(0, expected - self.received + self.duplicates)

    def lateness_ms(self) -> list[float]:
        """How late each packet came, against a 20 ms grid laid through the earliest of them."""
        earliest = min(self.arrivals_ns, default=0)
        return [(arrival - earliest) / 1e6 for arrival in self.arrivals_ns]
