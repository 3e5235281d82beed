"""Opus as the codec of a leg.

Received: packets of any mode and length, mono or stereo, are decoded to mono at the rate of the
call. A lost frame is taken from the in-band FEC of the packet after it where it has some, and made
up by libopus's concealment where it has none; a long gap is silence. A peer in discontinuous
transmission (DTX) sends nothing while its speaker is silent, and libopus goes on with its noise.

Sent: packets of 20 ms at 48 kbit/s and complexity 5, of either of two kinds. Measured for speech at
24 kHz: PESQ (ITU-T P.862.2, at best 4.6) of four synthetic voices, and what a frame costs to encode

    packets lost                         0 %    1 %    3 %   10 %     CPU
    CELT                                3.95   3.61   2.86   1.85    45 us
    SILK and CELT (hybrid) with FEC     4.19   4.12   3.98   3.38   165 us
    the same at 32 kbit/s               3.85   3.76   3.54   2.99   165 us

So it is CELT, which has no FEC, until the peer reports losses, and hybrid for as long as it does.
The application "audio" lets libopus change over without a gap: "music" makes it take CELT, "voice"
hybrid. The application "low delay" would be 4 ms faster and could never have FEC.

Lengths inside this module are samples at the rate of the call.
"""

from typing import Final

import numpy as np

from gateway.audio import libopus
from gateway.audio.formats import AudioFormat
from gateway.audio.libopus import Decoder, Encoder, OpusError

CLOCK_HZ: Final = 48_000
_FRAME_MS: Final = 20
_SAMPLE_BYTES: Final = 2

_BITRATE: Final = 48_000
_COMPLEXITY: Final = 5
_LOSS_THAT_COUNTS: Final = 0.01
_GUARDED_FRAMES: Final = 15 * 50
"""After the last report of a loss FEC goes on for 15 s, which is three reports of most peers: at
1 % one of them in ten is without a loss."""
_SILENT_FRAMES: Final = 30
"""Of silence as much is encoded, which is what the filters of the encoder need to forget a loud
sound with an offset. Then it has come to rest, and so has the peer's decoder, which makes true
silence of the last packet however often it comes."""

_CONCEALED_MS: Final = 100
"""Of a gap as much is made up. Then libopus's guess at speech has faded, or is only noise."""
_COMFORT_MS: Final = 1000
"""As long goes the noise on in DTX. Encoders renew it every 400 ms: two such packets are lost."""
_DTX_BYTES: Final = 2
"""A packet this small holds no frame, only the length of one (RFC 6716 section 3.2.1)."""
_STEP_MS: Final = 10
"""libopus conceals in multiples of 2.5 ms, but its SILK part only thinks in tens."""
_BLEND_MS: Final = 5


class OpusCodec:
    """The `Codec` of a leg in Opus.

    Args:
        rate_hz: 8, 12, 16, 24 or 48 kHz.
        fec: whether the peer can make use of in-band FEC.

    Raises:
        LibopusMissing: this machine has no libopus.
        AudioFormatError, OpusError: another rate.
    """

    def __init__(self, rate_hz: int, *, fec: bool) -> None:
        self.format: Final = AudioFormat("pcm16", rate_hz)
        self._fec = fec
        self._per_ms = rate_hz // 1000
        self._clock_step = CLOCK_HZ // rate_hz
        self._clock_rest = 0
        # What comes in.
        self._decoder = Decoder(rate_hz)
        self._absent = self._per_ms * _COMFORT_MS  # nothing is made up before the first packet
        self._dtx = False
        self._silenced = False
        # What goes out.
        self._encoder = Encoder(rate_hz, libopus.APPLICATION_AUDIO)
        self._encoder.set(libopus.SET_BITRATE, _BITRATE)
        self._encoder.set(libopus.SET_COMPLEXITY, _COMPLEXITY)
        self._encoder.set(libopus.SET_SIGNAL, libopus.SIGNAL_MUSIC)
        self._guarded = 0
        self._silence = self.format.silence(self._per_ms * _FRAME_MS)
        self._silent = 0
        self._silent_packet = b""

    # What comes in.

    def heard(self, payload: bytes) -> bytes:
        try:
            audio = self._decoder.decode(payload)
        except OpusError:
            return self._undecoded(payload)
        self._absent = 0
        self._dtx = len(payload) <= _DTX_BYTES
        return self._after_silence(audio) if self._silenced else audio

    def clipped(self, payload: bytes, skip: int) -> bytes:
        # All of it is decoded, because what comes next builds on it.
        audio = self.heard(payload)
        clock = len(audio) // _SAMPLE_BYTES * self._clock_step
        return self._end_of(audio, self._due(max(0, clock - skip)))

    def lost(self, samples: int, following: bytes | None) -> bytes:
        due = self._due(samples)
        if following is None or not libopus.has_fec(following):
            return self._concealed(due)
        frame = libopus.frame_samples(following, self.format.rate_hz)
        made_up = self._concealed(max(0, due - frame))
        try:
            recovered = self._decoder.recover(following, frame)
        except OpusError:
            return made_up + self._concealed(min(due, frame))
        if self._silenced:
            recovered = self._after_silence(recovered)
        return made_up + self._end_of(recovered, min(due, frame))

    def _due(self, clock: int) -> int:
        """Samples for a length on the RTP clock; what is less than one counts next time."""
        due, self._clock_rest = divmod(clock + self._clock_rest, self._clock_step)
        return due

    def _undecoded(self, payload: bytes) -> bytes:
        try:
            return self._concealed(libopus.packet_samples(payload, self.format.rate_hz))
        except OpusError:
            return b""

    def _concealed(self, samples: int) -> bytes:
        """Audio for a gap, or for more of it."""
        limit = self._per_ms * (_COMFORT_MS if self._dtx else _CONCEALED_MS)
        audible = max(0, min(samples, limit - self._absent))
        self._absent += samples
        audio = self._made_up(audible) if audible else b""
        if self._absent < limit:
            return audio
        self._silenced = True
        if audible:
            audio = self._faded(audio, _FRAME_MS, down=True)
        return audio + self.format.silence(samples - audible)

    def _made_up(self, samples: int) -> bytes:
        """Concealment of any length: libopus makes a little more, of which the end is kept."""
        step, most = self._per_ms * _STEP_MS, self._per_ms * libopus.LONGEST_PACKET_MS
        whole = -(-samples // step) * step
        chunks = (min(most, whole - at) for at in range(0, whole, most))
        return self._end_of(b"".join(map(self._decoder.conceal, chunks)), samples)

    def _end_of(self, audio: bytes, samples: int) -> bytes:
        """This much of the end of some audio, begun as the whole began.

        So it fits to what was heard before it, and to what comes next: cut off anywhere, it would
        click.
        """
        size = samples * _SAMPLE_BYTES
        if size == len(audio):
            return audio
        blend = min(size, self._bytes(_BLEND_MS))
        end = audio[len(audio) - size :]
        return _mixed(audio[:blend], end[:blend]) + end[blend:]

    def _after_silence(self, audio: bytes) -> bytes:
        self._silenced = False
        return self._faded(audio, _BLEND_MS, down=False)

    def _faded(self, audio: bytes, over_ms: int, *, down: bool) -> bytes:
        """Audio that comes out of silence, or goes `down` to it."""
        size = min(len(audio), self._bytes(over_ms))
        if down:
            at = len(audio) - size
            return audio[:at] + _mixed(audio[at:], bytes(size))
        return _mixed(bytes(size), audio[:size]) + audio[size:]

    def _bytes(self, ms: int) -> int:
        return self._per_ms * _SAMPLE_BYTES * ms

    # What goes out.

    def encode(self, frame: bytes | None) -> bytes:
        if self._guarded:
            self._guarded -= 1
            if not self._guarded:
                self._guard(0)
        if frame is not None and frame != self._silence:
            self._silent = 0
            return self._encoder.encode(frame)
        if self._silent < _SILENT_FRAMES:
            self._silent += 1
            self._silent_packet = self._encoder.encode(self._silence)
        return self._silent_packet

    def reported_loss(self, fraction: float) -> None:
        if self._fec and fraction >= _LOSS_THAT_COUNTS:
            self._guarded = _GUARDED_FRAMES
            self._guard(min(round(fraction * 100), 100))

    def _guard(self, loss_percent: int) -> None:
        """Send with FEC against this much loss, or without any."""
        kind = libopus.SIGNAL_VOICE if loss_percent else libopus.SIGNAL_MUSIC
        self._encoder.set(libopus.SET_SIGNAL, kind)
        self._encoder.set(libopus.SET_INBAND_FEC, int(loss_percent > 0))
        self._encoder.set(libopus.SET_PACKET_LOSS_PERC, loss_percent)


def _mixed(first: bytes, second: bytes) -> bytes:
    """From the one to the other, in equal steps."""
    before, after = np.frombuffer(first, np.int16), np.frombuffer(second, np.int16)
    weight = np.arange(1, len(after) + 1) / (len(after) + 1)
    return np.rint(before * (1 - weight) + after * weight).astype(np.int16).tobytes()
