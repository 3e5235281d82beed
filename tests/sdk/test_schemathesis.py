"""schemathesis over /openapi.json: no server error, no status or body that is not described."""

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from tests.peers.gateway import ROOT
from tests.sdk.callers import Callers
from tests.sdk.site import KEY, Site, running

pytestmark = [pytest.mark.peer, pytest.mark.patient, pytest.mark.slow]

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "60"))
"""Made at random for each operation, beside those at the edges of what is described."""
CALLS = "^/v1/realtime/calls"
CALL = "/v1/realtime/calls/{call_id}"
DONE = {
    f"POST {CALL}/accept": 200,
    f"POST {CALL}/reject": 200,
    f"POST {CALL}/refer": 200,
    f"POST {CALL}/hangup": 200,
    f"GET {CALL}": 200,
    "GET /v1/realtime/calls": 200,
    "POST /v1/realtime/calls": 201,
    "POST /v1/realtime/client_secrets": 200,
}
"""What is not only refused, but done too."""
HALVES = {"calls": "--include-path-regex", "others": "--exclude-path-regex"}
"""Two runs side by side, because what takes the time is the making of examples. Each has a single
worker: with more of them schemathesis now and then leaves an operation out."""


def test_what_is_described_is_what_is_done(tmp_path: Path) -> None:
    live = tmp_path / "live.json"
    # Who is called and is not there goes on being called for half a minute.
    with (
        running(GATEWAY_CALLS_MAX="1000") as site,
        Callers(site, live),
        ThreadPoolExecutor() as pool,
    ):
        status, text = site.gateway.get("/openapi.json")
        assert status == 200
        validate(json.loads(text))

        def half(name: str) -> Counter[str]:
            """The answers that it got, by method, path and status."""
            answers = tmp_path / name
            done = schemathesis(site, HALVES[name], CALLS, LIVE_CALLS=live, ANSWERS=answers)
            assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
            return Counter(answers.read_text().splitlines())

        answers = sum(pool.map(half, HALVES), Counter[str]())
        assert site.gateway.get("/healthz")[0] == 200
    asked = Counter[str]()
    for line, count in answers.items():
        asked[line.rsplit(" ", 1)[0]] += count
    seldom = {one: asked[one] for one in DONE if asked[one] < EXAMPLES}
    assert not seldom
    missing = [one for one, status in DONE.items() if not answers[f"{one} {status}"]]
    assert not missing, f"never done: {missing}; {sorted(answers.items())}"


def schemathesis(
    site: Site, *selection: str, **environment: Path
) -> subprocess.CompletedProcess[str]:
    """One run over what is selected."""
    arguments = [
        *("run", site.base_url.removesuffix("/v1") + "/openapi.json"),
        *("--header", f"Authorization: Bearer {KEY}"),
        *("--checks", CHECKS, "--mode", "all", "--max-examples", str(EXAMPLES)),
        *("--phases", "examples,coverage,fuzzing", "--seed", "3", "--workers", "1"),
        *("--exclude-path", "/v1/realtime", "--no-shrink", "--continue-on-failure"),
        *("--request-timeout", "20", "--warnings", "off", "--no-color"),
        *("--generation-database", "none", *selection),
    ]
    hooks = {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.sdk.schemathesis_hooks"}
    return subprocess.run(
        [str(Path(sys.executable).with_name("schemathesis")), *arguments],
        cwd=next(iter(environment.values())).parent,
        env={**os.environ, **hooks, **{name: str(path) for name, path in environment.items()}},
        capture_output=True,
        text=True,
        timeout=110,
    )
