"""The binding itself: which library it finds, what it says when it refuses, what it gives back."""

import subprocess
import sys
from collections.abc import Iterator
from ctypes.util import find_library
from importlib.machinery import ModuleSpec
from pathlib import Path

import psutil
import pytest

from gateway.audio import libopus
from gateway.audio.libopus import Decoder, Encoder, LibopusMissing, OpusError
from gateway.audio.opus import OpusCodec

pytestmark = pytest.mark.pure

FRAME = bytes(960)


@pytest.fixture
def unloaded() -> Iterator[None]:
    libopus._library.cache_clear()
    yield
    libopus._library.cache_clear()


def test_it_is_the_library_of_pyav_and_pyav_is_not_imported() -> None:
    script = "import sys; from gateway.audio import libopus as it; print(it.version()); "
    script += "print(it._library()._name); print('av' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout
    version, path, imported = output.decode().splitlines()
    assert version.startswith("libopus 1.")
    assert Path(path).parent.name in ("av.libs", ".dylibs")
    assert imported == "False"


@pytest.mark.parametrize("place", ["av.libs/libopus-0a1b.so.0.9", "av/.dylibs/libopus.0.dylib"])
@pytest.mark.usefixtures("unloaded")
def test_where_wheels_have_it_and_what_cannot_be_loaded_is_passed_over(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The directory has a file of the right name that is no library, then one that is another."""
    real = libopus._places()[0]
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no library")
    (path.parent / "libopusfile.so").write_bytes(b"another")
    package = ModuleSpec("av", None, is_package=True)
    package.submodule_search_locations = [str(tmp_path / "av")]
    other = find_library("c")
    monkeypatch.setattr(libopus, "find_spec", lambda name: package)
    monkeypatch.setattr(libopus, "find_library", lambda name: other)
    assert libopus._places() == [str(path), *filter(None, [other])]
    with pytest.raises(LibopusMissing, match="no libopus"):
        libopus.version()
    monkeypatch.setattr(libopus, "find_library", lambda name: real)
    assert libopus.version().startswith("libopus")


@pytest.mark.usefixtures("unloaded")
def test_without_a_library_there_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libopus, "find_spec", lambda name: None)
    monkeypatch.setattr(libopus, "find_library", lambda name: None)
    for attempt in (libopus.version, lambda: OpusCodec(24_000, fec=True)):
        with pytest.raises(LibopusMissing, match="neither PyAV nor the system"):
            attempt()
    monkeypatch.undo()
    assert libopus.version()


def test_an_older_library_cannot_tell_about_fec(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then `recover` is asked for what may not be there, and conceals."""
    encoder, decoder = Encoder(24_000, libopus.APPLICATION_AUDIO), Decoder(24_000)
    packet = encoder.encode(FRAME)
    assert not libopus.has_fec(packet)
    monkeypatch.setattr(libopus, "_HAS_FEC", "opus_packet_has_another_name")
    assert libopus.has_fec(packet)
    assert not libopus.has_fec(b"")
    assert len(decoder.recover(packet, 480)) == 960


@pytest.mark.parametrize(
    ("attempt", "text"),
    [
        (lambda: Encoder(44_100, libopus.APPLICATION_AUDIO), "invalid argument"),
        (lambda: Encoder(24_000, 1), "invalid argument"),
        (lambda: Decoder(44_100), "invalid argument"),
        (lambda: Encoder(24_000, libopus.APPLICATION_AUDIO).encode(bytes(700)), "invalid"),
        (lambda: Encoder(24_000, libopus.APPLICATION_AUDIO).set(4002, -5), "invalid argument"),
        (lambda: Encoder(24_000, libopus.APPLICATION_AUDIO).set(77, 0), "not implemented"),
        (lambda: Decoder(24_000).decode(b"\x03"), "corrupted stream"),
        (lambda: Decoder(24_000).decode(b""), "empty"),
        (lambda: Decoder(24_000).conceal(7), "invalid argument"),
        (lambda: Decoder(24_000).recover(b"\x03", 480), "corrupted stream"),
        (lambda: libopus.packet_samples(b"", 24_000), "invalid argument"),
        (lambda: libopus.packet_samples(b"\x03\x3f", 24_000), "corrupted stream"),
    ],
)
def test_a_refusal_has_the_words_of_libopus(attempt: object, text: str) -> None:
    assert callable(attempt)
    with pytest.raises(OpusError, match=text):
        attempt()


def test_settings_reach_the_encoder() -> None:
    """They are variable arguments, which some processors take from elsewhere than fixed ones."""
    noise = bytes(range(256)) * 4
    sizes = []
    for bitrate in (16_000, 64_000):
        encoder = Encoder(24_000, libopus.APPLICATION_AUDIO)
        encoder.set(libopus.SET_BITRATE, bitrate)
        sizes.append(sum(len(encoder.encode(noise[:960])) for _ in range(20)))
    assert sizes[1] > 3 * sizes[0]
    library = libopus._library()
    assert len(library.opus_encoder_ctl.argtypes or ()) == 2  # none of the variable ones


def test_codecs_give_their_memory_back() -> None:
    """A codec has about 60 KB: 2000 that stay would be 120 MB."""
    process = psutil.Process()

    def make(count: int) -> None:
        for _ in range(count):
            codec = OpusCodec(24_000, fec=True)
            codec.heard(codec.encode(FRAME))

    make(200)
    before = process.memory_info().rss
    make(2000)
    assert process.memory_info().rss - before < 20_000_000
