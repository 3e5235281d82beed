"""What sipvicious finds out about us: that we are there, and nobody's name.

It is GPL and no part of this project: the test runs it where it is installed.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.peers.gateway import HOST, GatewayProcess

pytestmark = [pytest.mark.peer, pytest.mark.slow, pytest.mark.usefixtures("meanwhile")]

KNOWN, UNKNOWN = ("alice", "1001"), ("bob", "1002", "agent")


def test_no_name_is_found(tmp_path: Path) -> None:
    """Not with our limit on requests off either. It gives up when a name that we know is refused
    like one that it made up, so those come first."""
    svwar = shutil.which("sipvicious_svwar") or shutil.which("svwar")
    if svwar is None:
        pytest.skip("sipvicious is not installed (PyPI package sipvicious, or Debian's)")
    names = tmp_path / "names"
    names.write_text("\n".join(KNOWN + UNKNOWN))
    env = {
        "GATEWAY_SIP_USERS": ",".join(f"{name}:s3cret" for name in KNOWN),
        "GATEWAY_SIP_ALLOW": "192.0.2.0/24",
        "GATEWAY_SIP_RATE": "0",
    }
    with GatewayProcess(env=env) as gateway:

        def scan(method: str) -> str:
            options = ("-p", str(gateway.sip_port), "-m", method, "-d", str(names), "--force")
            ran = subprocess.run(
                [svwar, *options, HOST], capture_output=True, text=True, timeout=60, cwd=tmp_path
            )
            return ran.stdout + ran.stderr

        told = [scan(method) for method in ("REGISTER", "INVITE", "OPTIONS")]
        answers = gateway.metrics()
    for output in told:
        assert "found nothing" in output, output[-2000:]
    refused = [name for name in answers if name.startswith("gateway_sip_responses_total")]
    assert len(refused) == 3 and all('code="401"' in name for name in refused), refused
