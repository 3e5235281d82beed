"""The map of the house, as a test. Change it on purpose.

Imports go one way; the pure rooms know no clock, no socket and no randomness; modules stay of a
size that one person can hold in mind.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.pure

ROOT = Path(__file__).parents[1]
GATEWAY = ROOT / "gateway"

MAY_IMPORT: dict[str, set[str]] = {
    "sip": set(),
    "sdp": set(),
    "rtp": set(),
    "audio": set(),
    "realtime": {"audio"},
    "webhooks": set(),
    "webrtc": {"sdp", "reach"},
    "legs": {"sip", "sdp", "rtp", "audio", "webrtc", "alarm", "origin", "reach"},
    "upstream": {"realtime", "audio", "webhooks"},
    "calls": {"legs", "upstream", "realtime", "audio", "webhooks", "alarm"},
    "api": {"calls", "upstream", "realtime", "web", "origin"},
    "backend": {"realtime", "audio"},
    "phone": {"sip", "sdp", "rtp", "audio", "alarm"},
    "web": set(),
    # A setting is checked by the room that it is for.
    "settings": {
        "audio",
        "backend",
        "calls",
        "realtime",
        "sdp",
        "sip",
        "upstream",
        "webhooks",
        "webrtc",
    },
    # Single modules at the top: the composition root and what it reads.
    "alarm": set(),
    "collector": set(),
    "origin": set(),
    "reach": set(),
    "logs": set(),
    "metrics": set(),
    "embedded": set(),
    "backends": {"audio", "realtime", "settings", "upstream"},
    "policies": {"audio", "calls", "settings"},
    "media": {"audio", "legs", "sdp", "settings", "upstream", "webrtc"},
    "signalling": {"calls", "legs", "settings", "sip"},
    "app": {
        "api",
        "backends",
        "calls",
        "collector",
        "embedded",
        "legs",
        "logs",
        "media",
        "metrics",
        "policies",
        "settings",
        "signalling",
        "sip",
        "upstream",
        "webrtc",
    },
    "cli": {"app", "backend", "logs", "phone", "settings"},
    "__main__": {"cli"},
    "__init__": set(),
}
PURE = {"sip", "sdp", "rtp", "audio", "realtime", "webhooks"}
PURE_MODULES = {
    "gateway.calls.machine",
    "gateway.calls.continuity",
    "gateway.calls.conversation",
    "gateway.calls.memory",
    "gateway.calls.memory_items",
    "gateway.calls.memory_list",
    "gateway.calls.patience",
    "gateway.calls.sip_headers",
    "gateway.calls.talk",
    "gateway.calls.tape",
    "gateway.calls.targets",
    "gateway.calls.transfer",
    "gateway.backend.session",
    "gateway.upstream.presets",
    "gateway.upstream.target",
    "gateway.webrtc.candidates",
    "gateway.webrtc.servers",
}
NOT_PURE = {"asyncio", "socket", "ssl", "time", "random", "secrets", "os", "threading", "structlog"}
MAX_LINES = 400
MAX_FUNCTION_LINES = 60


def modules() -> list[Path]:
    return sorted(GATEWAY.rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(GATEWAY).parts
    return parts[0] if len(parts) > 1 else path.stem


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_imports_go_one_way() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules()
        for name in imported(path)
        if name.split(".")[0] == "gateway"
        and name.split(".")[1] != room(path)
        and name.split(".")[1] not in MAY_IMPORT[room(path)]
    ]
    assert not wrong


def test_pure_rooms_know_no_clock_no_socket_and_no_randomness() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules()
        for name in imported(path)
        if room(path) in PURE and name.split(".")[0] in NOT_PURE
    ]
    assert not wrong


@pytest.mark.parametrize("module", sorted(PURE_MODULES))
def test_pure_modules_load_no_network_library(module: str) -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.split()
    assert not {"aiohttp", "asyncio", "aiortc", "structlog"} & set(loaded)


def test_only_the_top_reads_settings() -> None:
    readers = {
        room(path)
        for path in modules()
        if any(name.startswith("gateway.settings") for name in imported(path))
    }
    assert readers <= {"app", "backends", "cli", "media", "policies", "settings", "signalling"}


def test_modules_and_functions_stay_small() -> None:
    long = []
    for path in modules():
        text = path.read_text()
        if len(text.splitlines()) > MAX_LINES:
            long.append(f"{path.relative_to(ROOT)}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines}")
    assert not long


def test_every_test_module_says_what_it_needs() -> None:
    unmarked = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "pytestmark" not in path.read_text()
    ]
    assert not unmarked
