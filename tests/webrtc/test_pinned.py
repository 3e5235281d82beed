"""The libraries are those that we rest on, and it is said when they are not."""

import ast
from pathlib import Path

import pytest

import gateway.webrtc
from gateway.webrtc.pinned import NAMES, check_aiortc

pytestmark = pytest.mark.pure


def test_what_is_installed_is_what_this_was_written_for() -> None:
    check_aiortc()


def test_a_name_that_is_gone_is_told_in_one_line() -> None:
    names = {owner: (*wanted, "_gone") for owner, wanted in NAMES.items()}
    with pytest.raises(RuntimeError) as told:
        check_aiortc(names)
    text = str(told.value)
    assert "\n" not in text and "aiortc 1." in text
    for owner, wanted in NAMES.items():
        assert f"{owner.__name__}._gone" in text
        assert not any(f"{owner.__name__}.{name}," in text for name in wanted)


def test_every_name_of_theirs_that_is_used_is_on_the_list() -> None:
    """Those with an underscore that our subclasses take from `self` and do not set themselves."""
    listed = {name for wanted in NAMES.values() for name in wanted}
    for file in ("ice.py", "ice_socket.py", "dtls.py", "sctp.py", "reassembly.py"):
        tree = ast.parse((Path(gateway.webrtc.__path__[0]) / file).read_text())
        for owner in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
            if not owner.bases:
                continue
            used: set[str] = set()
            ours: set[str] = set()
            for node in ast.walk(owner):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    if node.value.id == "self" and node.attr.startswith("_"):
                        (ours if isinstance(node.ctx, ast.Store) else used).add(node.attr)
                elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    ours.add(node.name)
            assert used - ours <= listed, f"{file} {owner.name}"
