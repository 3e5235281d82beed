"""baresip as a peer: a real softphone with a file for a microphone and a file for a loudspeaker."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.audio import Signal, read_wav
from tests.peers.gateway import HOST, free_port, free_range

_MODULES = (
    Path("/usr/lib/baresip/modules"),
    *Path("/usr/lib").glob("*/baresip/modules"),
    Path("/usr/local/lib/baresip/modules"),
)


def need_baresip() -> Path:
    """Where its modules are; skips the test when it is not installed."""
    modules = next((path for path in _MODULES if path.is_dir()), None)
    if shutil.which("baresip") is None or modules is None:
        pytest.skip("baresip is not installed (package baresip-core)")
    return modules


@dataclass(frozen=True, slots=True)
class Recording:
    """What a call with baresip left behind."""

    heard: Signal
    output: str


class BaresipCall:
    """A call that is placed at once and hung up after some seconds.

    Args:
        transport: `udp` or `tcp`.
        codec: `PCMU` or `PCMA`; the only one that is offered.
        microphone: a WAV file that lasts longer than the call.
    """

    def __init__(
        self,
        gateway: tuple[str, int],
        directory: Path,
        *,
        transport: str,
        codec: str,
        microphone: Path,
        duration_s: float,
    ) -> None:
        modules = need_baresip()
        self._directory = directory
        self._duration_s = duration_s
        self._recordings = directory / "recordings"
        self._recordings.mkdir(parents=True)
        first = free_range(100)
        listen = free_port()
        settings = (
            "poll_method epoll",
            f"sip_listen {HOST}:{listen}",
            f"net_interface {HOST}",
            f"audio_source aufile,{microphone}",
            f"audio_player aufile,{directory / 'unused.wav'}",
            "audio_alert aufile,/dev/null",
            "audio_path /nonexistent",
            *(f"{stage}_format s16" for stage in ("ausrc", "auplay", "auenc", "audec")),
            "audio_buffer 20-160",
            "jitter_buffer_delay 2-10",
            f"rtp_ports {first}-{first + 99}",
            f"module_path {modules}",
            *(f"module {name}.so" for name in ("g711", "aufile", "sndfile")),
            *(f"module_tmp {name}.so" for name in ("uuid", "account")),
            "module_app menu.so",
            f"snd_path {self._recordings}",
        )
        (directory / "config").write_text("".join(f"{line}\n" for line in settings))
        (directory / "contacts").touch()
        (directory / "accounts").write_text(
            f"<sip:caller@{HOST}:{listen};transport={transport}>;regint=0;audio_codecs={codec}\n"
        )
        self._process = subprocess.Popen(
            [
                "baresip",
                *("-f", str(directory), "-t", str(round(duration_s))),
                *("-e", f"/dial sip:agent@{gateway[0]}:{gateway[1]};transport={transport}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def result(self) -> Recording:
        """Wait for the end of the call."""
        try:
            output, _ = self._process.communicate(timeout=self._duration_s + 15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, _ = self._process.communicate()
        files = sorted(self._recordings.glob("*-dec.wav"))
        assert files, f"baresip heard nothing:\n{output[-3000:]}"
        return Recording(read_wav(files[0]), output)
