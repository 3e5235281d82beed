"""schemathesis over /openapi.json: no server error, no status or body that is not described."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from tests.peers.gateway import ROOT
from tests.sdk.site import KEY, running

pytestmark = [pytest.mark.peer, pytest.mark.slow]

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)
EXAMPLES = 15
"""Made at random for each operation, beside those at the edges of what is described."""


def test_what_is_described_is_what_is_done(tmp_path: Path) -> None:
    with running() as site, site.phone() as ringing, site.phone() as talking:
        calls = []
        for _ in range(2):
            calls.append(json.loads(site.hooks.next().body)["data"]["call_id"])
        ringing.wait_for_status(180)
        talking.wait_for_status(180)
        status, text = site.gateway.get("/openapi.json")
        assert status == 200
        validate(json.loads(text))
        arguments = [
            *("run", site.base_url.removesuffix("/v1") + "/openapi.json"),
            *("--header", f"Authorization: Bearer {KEY}"),
            *("--checks", CHECKS, "--mode", "all", "--max-examples", str(EXAMPLES)),
            *("--phases", "examples,coverage,fuzzing", "--seed", "3", "--workers", "2"),
            *("--exclude-path", "/v1/realtime", "--no-shrink", "--continue-on-failure"),
            *("--request-timeout", "20", "--warnings", "off", "--no-color"),
        ]
        done = subprocess.run(
            [str(Path(sys.executable).with_name("schemathesis")), *arguments],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "SCHEMATHESIS_HOOKS": "tests.sdk.schemathesis_hooks",
                "LIVE_CALLS": ",".join(calls),
            },
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
        assert "/v1/realtime/calls/{call_id}/accept" in text
        assert site.gateway.get("/healthz")[0] == 200
