"""The application in the README, run as it stands there but for its ports."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.peers.gateway import HOST, ROOT, GatewayProcess, eventually, free_port
from tests.sdk.phone import CallingPhone

pytestmark = pytest.mark.peer

README = (ROOT / "README.md").read_text()


def setting(name: str) -> str:
    """What the README's command line gives this variable."""
    return README.split(f"{name}=")[1].split()[0]


def test_the_application_in_the_readme_answers_a_call(tmp_path: Path) -> None:
    port = free_port()
    env = {
        "GATEWAY_API_KEYS": setting("GATEWAY_API_KEYS"),
        "GATEWAY_WEBHOOK_URL": setting("GATEWAY_WEBHOOK_URL").replace("9000", str(port)),
        "GATEWAY_WEBHOOK_SECRET": setting("GATEWAY_WEBHOOK_SECRET"),
    }
    with GatewayProcess(env=env) as gateway:
        code = README.split("```python\n")[1].split("```")[0]
        code = code.replace("8080", str(gateway.http_port)).replace("9000", str(port))
        (tmp_path / "application.py").write_text(code)
        application = subprocess.Popen(
            [sys.executable, "-u", "application.py"],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said: list[str] = []

        def read() -> None:
            assert application.stdout is not None
            said.extend(line.strip() for line in application.stdout)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            assert eventually(lambda: any(HOST in line for line in said), 20), said
            with CallingPhone(gateway.sip) as phone:
                assert phone.answered.wait(10)
                assert eventually(lambda: "output_audio_buffer.started" in said, 10), said
                phone.hang_up()
            gateway.wait_for("call.ended", reason="remote_bye")
            assert said.index("session.created") < said.index("response.created")
        finally:
            application.terminate()
            application.wait(10)
            reader.join()
            assert application.stdout is not None
            application.stdout.close()
    assert not any("Traceback" in line for line in said), said
