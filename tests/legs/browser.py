"""A WebRTC peer as a caller: aiortc's own peer connection, with its own SDP, ICE and media."""

import asyncio
import fractions
import json
from collections.abc import Callable
from typing import Any, Self

import av
import numpy as np
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack
from numpy.typing import NDArray

PATIENCE_S = 10.0
RATE_HZ = 48_000
FRAME = RATE_HZ // 50


class Tone(AudioStreamTrack):
    """A sine in real time."""

    def __init__(self, hz: float) -> None:
        super().__init__()
        self._hz = hz
        self._at = 0
        self._begun: float | None = None

    async def recv(self) -> av.AudioFrame:
        now = asyncio.get_running_loop().time()
        if self._begun is None:
            self._begun = now
        await asyncio.sleep(max(self._begun + self._at / RATE_HZ - now, 0))
        at = np.arange(self._at, self._at + FRAME) / RATE_HZ
        samples = (8000 * np.sin(2 * np.pi * self._hz * at)).astype(np.int16)
        # In stereo: aiortc would make it so, and 3 dB quieter.
        both = np.repeat(samples, 2).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(both, format="s16", layout="stereo")
        frame.sample_rate, frame.pts = RATE_HZ, self._at
        frame.time_base = fractions.Fraction(1, RATE_HZ)
        self._at += FRAME
        return frame


class Browser:
    """One peer connection with a data channel.

    Args:
        hz: of the tone that it sends.
        codecs: it offers these only, e.g. `PCMU/8000`.
        candidates: whether its offer has any; browsers that post at once have none.
        with_channel: whether it opens a data channel.
    """

    def __init__(
        self,
        hz: float = 440.0,
        codecs: tuple[str, ...] = (),
        *,
        candidates: bool = False,
        with_channel: bool = True,
    ) -> None:
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.events: list[dict[str, Any]] = []
        self.opened = asyncio.Event()
        if with_channel:
            self.channel: RTCDataChannel = self.pc.createDataChannel("oai-events")
            self.channel.on("open", self.opened.set)
            self.channel.on("message", lambda text: self.events.append(json.loads(text)))
        self.pc.addTrack(Tone(hz))
        self.pc.on("track", self._listen)
        self._codecs = codecs
        self._candidates = candidates
        self._heard: list[NDArray[np.int16]] = []
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._listening is not None:
            self._listening.cancel()
        await self.pc.close()

    async def offer(self) -> bytes:
        await self.pc.setLocalDescription(await self.pc.createOffer())
        lines = self.pc.localDescription.sdp.splitlines()
        if self._codecs:
            lines = _only(lines, self._codecs)
        if not self._candidates:
            lines = [line for line in lines if not line.startswith("a=candidate")]
        return "".join(f"{line}\r\n" for line in lines).encode()

    async def take(self, answer: bytes) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(answer.decode(), "answer"))

    def send(self, event: dict[str, Any]) -> None:
        self.channel.send(json.dumps(event))

    @property
    def heard(self) -> NDArray[np.int16]:
        """Mono, at 48 kHz."""
        return np.concatenate(self._heard) if self._heard else np.zeros(0, np.int16)

    def _listen(self, track: MediaStreamTrack) -> None:
        self._listening = asyncio.ensure_future(self._hear(track))

    async def _hear(self, track: MediaStreamTrack) -> None:
        resampler = av.AudioResampler("s16", "mono", RATE_HZ)
        while True:
            came = await track.recv()
            assert isinstance(came, av.AudioFrame)
            for frame in resampler.resample(came):
                self._heard.append(np.asarray(frame.to_ndarray().reshape(-1), np.int16))


def _only(lines: list[str], codecs: tuple[str, ...]) -> list[str]:
    """The offer with these codecs of audio alone."""
    kept = {
        line.split(":")[1].split(" ")[0]
        for line in lines
        if line.startswith("a=rtpmap") and line.endswith(codecs)
    }
    out = []
    for line in lines:
        if line.startswith("m=audio"):
            head, formats = line.split(" ")[:3], line.split(" ")[3:]
            line = " ".join([*head, *(one for one in formats if one in kept)])
        elif line.startswith(("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:")):
            if line.split(":")[1].split(" ")[0] not in kept:
                continue
        out.append(line)
    return out


def strength(audio: NDArray[Any], hz: float, rate_hz: int) -> float:
    """Share of the energy that lies within 20 Hz of a frequency, 0 to 1."""
    samples = audio.astype(np.float64)
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(samples), 1 / rate_hz) - hz) < 20
    total = float(power.sum())
    return float(power[near].sum()) / total if total else 0.0


async def until(condition: Callable[[], object]) -> None:
    """Return when it has come true, which a test that fails waits for in vain."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  # nobody tells when
            await asyncio.sleep(0.02)
