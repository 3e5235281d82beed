"""Check that the lock files fit pyproject.toml and what is installed. Part of `make check`.

Every requirement must be pinned to a version that pyproject.toml allows, every pin must carry
hashes, no pin may name a place to download from, and the environment must hold the pinned versions.
"""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PIN = re.compile(
    r"^(?P<name>[\w.\-]+)==(?P<version>[^\s;\\]+)(?:\s*;\s*(?P<marker>[^\\]+?))?\s*\\?$"
)


def pins(path: Path) -> tuple[dict[str, tuple[str, Marker | None]], list[str]]:
    """Pinned versions by name, and what is wrong with the file."""
    found: dict[str, tuple[str, Marker | None]] = {}
    wrong: list[str] = []
    name = ""
    for line in path.read_text().splitlines():
        if pin := PIN.match(line):
            name = canonicalize_name(pin["name"])
            found[name] = (pin["version"], Marker(pin["marker"]) if pin["marker"] else None)
        elif line.startswith("    --hash=sha256:"):
            name = ""
        elif line and not line.lstrip().startswith("#"):
            wrong.append(f"{path.name}: not a pin: {line}")
        if "://" in line:
            wrong.append(f"{path.name}: names a place: {line}")
        if name and line and not line.endswith("\\"):
            wrong.append(f"{path.name}: {name} has no hash")
    return found, wrong


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    wrong: list[str] = []
    for lock, wanted in (
        ("requirements.lock", project["project"]["dependencies"] + groups["build"]),
        ("requirements-dev.lock", groups["dev"]),
    ):
        locked, faults = pins(ROOT / lock)
        wrong += faults
        for requirement in map(Requirement, wanted):
            entry = locked.get(canonicalize_name(requirement.name))
            if entry is None:
                wrong.append(f"{lock}: {requirement.name} is missing; run: make lock")
            elif not requirement.specifier.contains(entry[0], prereleases=True):
                wrong.append(f"{lock}: {requirement} is pinned to {entry[0]}; run: make lock")
        for name, (pinned, marker) in locked.items():
            if marker is not None and not marker.evaluate():
                continue
            try:
                installed = version(name)
            except PackageNotFoundError:
                installed = "nothing"
            if installed != pinned:
                wrong.append(f"{lock}: {name}=={pinned}, but {installed} is installed")
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
