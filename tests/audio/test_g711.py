"""G.711 against FFmpeg's decoders and against the definition's own bounds."""

import numpy as np
import pytest
from av.audio.codeccontext import AudioCodecContext
from av.audio.layout import AudioLayout
from av.codec.context import CodecContext
from av.packet import Packet

from gateway.audio import g711
from gateway.audio.formats import PCMA, PCMU, Law

pytestmark = pytest.mark.pure

LAWS: list[Law] = ["pcmu", "pcma"]
ALL_CODES = bytes(range(256))
ALL_SAMPLES = np.arange(-32768, 32768).astype(np.int16)


@pytest.mark.parametrize(("law", "codec"), [("pcmu", "pcm_mulaw"), ("pcma", "pcm_alaw")])
def test_every_code_decodes_as_in_ffmpeg(law: Law, codec: str) -> None:
    context = CodecContext.create(codec, "r")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate = 8000
    context.layout = AudioLayout("mono")
    frames = context.decode(Packet(ALL_CODES))
    expected = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    assert g711.decode(ALL_CODES, law).tolist() == expected.tolist()


@pytest.mark.parametrize("law", LAWS)
def test_a_decoded_code_encodes_to_itself(law: Law) -> None:
    again = g711.encode(g711.decode(ALL_CODES, law), law)
    # Mu-law has two zeros; zero is written as the positive one.
    expected = ALL_CODES.replace(b"\x7f", b"\xff") if law == "pcmu" else ALL_CODES
    assert again == expected


@pytest.mark.parametrize("law", LAWS)
def test_the_encoder_rises_with_the_signal(law: Law) -> None:
    levels = g711.decode(g711.encode(ALL_SAMPLES, law), law)
    assert (np.diff(levels.astype(int)) >= 0).all()
    assert len(set(levels.tolist())) == (255 if law == "pcmu" else 256)


@pytest.mark.parametrize("law", LAWS)
def test_positive_and_negative_halves_are_mirror_images(law: Law) -> None:
    positive = g711.encode(ALL_SAMPLES[32768:], law)
    negative = g711.encode(~ALL_SAMPLES[32768:], law)
    assert bytes(code ^ 0x80 for code in positive) == negative


@pytest.mark.parametrize(("law", "loudest"), [("pcmu", 32124 + 512), ("pcma", 32767)])
def test_the_error_is_at_most_half_a_step(law: Law, loudest: int) -> None:
    levels = g711.decode(g711.encode(ALL_SAMPLES, law), law).astype(int)
    samples = ALL_SAMPLES.astype(int)
    inside = np.abs(samples) < loudest
    # A segment twice as loud has steps twice as coarse; the finest steps are 8 and 16.
    if law == "pcmu":
        half_step = np.maximum(4, 2 ** np.floor(np.log2(np.abs(samples) + 132)) / 32)
    else:
        half_step = np.maximum(8, 2 ** np.floor(np.log2(np.abs(samples) + 1)) / 32)
    assert (np.abs(levels - samples)[inside] <= half_step[inside] + 1).all()


@pytest.mark.parametrize(("law", "silence"), [("pcmu", PCMU.silence(1)), ("pcma", PCMA.silence(1))])
def test_zero_is_the_code_of_silence(law: Law, silence: bytes) -> None:
    assert g711.encode(np.zeros(1, np.int16), law) == silence


@pytest.mark.parametrize("source", LAWS)
def test_translation_takes_the_nearest_level(source: Law) -> None:
    target: Law = "pcma" if source == "pcmu" else "pcmu"
    before = g711.decode(ALL_CODES, source).astype(int)
    after = g711.decode(ALL_CODES.translate(g711.TRANSLATE[source]), target).astype(int)
    levels = g711.decode(ALL_CODES, target).astype(int)
    nearest = np.abs(levels[None, :] - before[:, None]).min(axis=1)
    error = np.abs(after - before)
    # The border between two segments is not quite half way: one step of difference there.
    assert (error == nearest).sum() >= 248
    assert (error <= nearest * 2 + 8).all()


def test_translation_of_silence_is_silence() -> None:
    assert PCMU.silence(8).translate(g711.TRANSLATE["pcmu"]) == PCMA.silence(8)
    quiet = g711.decode(PCMA.silence(8).translate(g711.TRANSLATE["pcma"]), "pcmu")
    assert np.abs(quiet).max() <= 8  # A-law has no zero to begin with


def test_samples_may_be_a_view() -> None:
    samples = ALL_SAMPLES[::-3]
    assert g711.encode(samples, "pcma") == g711.encode(samples.copy(), "pcma")


def test_nothing_in_nothing_out() -> None:
    assert g711.decode(b"", "pcmu").tolist() == []
    assert g711.encode(np.empty(0, np.int16), "pcmu") == b""


def test_tables_for_streams_that_join() -> None:
    """By number: the table to the law of the other streams, and none for those that have it."""
    tables = g711.translations([(8, "pcma"), (96, "pcmu")], "pcmu")
    assert tables == {8: g711.TRANSLATE["pcma"], 96: None}
    assert ALL_CODES.translate(tables[96]) == ALL_CODES
