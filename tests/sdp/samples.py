"""The offers in `offers/`, as bytes on the wire. Lines that begin with # say where one is from."""

from pathlib import Path

FOLDER = Path(__file__).parent / "offers"
NAMES = sorted(path.stem for path in FOLDER.glob("*.sdp"))


def sample(name: str) -> bytes:
    lines = (FOLDER / f"{name}.sdp").read_text().splitlines()
    ending = "\n" if name == "terse" else "\r\n"
    return "".join(line + ending for line in lines if not line.startswith("#")).encode()


def with_line(name: str, old: str, new: str) -> bytes:
    """The offer with one piece of text replaced."""
    text = sample(name).decode()
    assert old in text
    return text.replace(old, new).encode()
