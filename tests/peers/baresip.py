"""baresip as a peer: a real softphone with a file for a microphone and a file for a loudspeaker."""

import json
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.peers.audio import RATE_HZ, Signal, read_samples, read_wav, voiced
from tests.peers.gateway import HOST, eventually, free_port, free_range
from tests.sdk.authority import Files

_MODULES = (
    Path("/usr/lib/baresip/modules"),
    *Path("/usr/lib").glob("*/baresip/modules"),
    Path("/usr/local/lib/baresip/modules"),
)
_WAV_HEAD = 44
"""Bytes before the samples, in what its sndfile module writes."""


def need_baresip() -> Path:
    """Where its modules are; skips the test when it is not installed."""
    modules = next((path for path in _MODULES if path.is_dir()), None)
    if shutil.which("baresip") is None or modules is None:
        pytest.skip("baresip is not installed (package baresip-core)")
    return modules


@dataclass(frozen=True, slots=True)
class Recording:
    """What the first call with a baresip left behind."""

    heard: Signal
    output: str


class Baresip:
    """The program: it answers every call, and places one when it is told to. Use as a context
    manager, or wait for the end of one with a duration.

    Args:
        directory: for its configuration and its recordings; there may be nothing in it.
        transport: `udp`, `tcp` or `tls`.
        codec: `PCMU` or `PCMA`; the only one that is offered and taken.
        microphone: a WAV file that lasts longer than the calls.
        port: of its SIP; 0 takes any.
        dial: a URI that it calls at once.
        duration_s: it ends by itself then.
        encryption: of media: `srtp` if the other side has it, `srtp-mand` in any case; "" for none.
        files: its certificate and whom it believes, for TLS.
        login: name and password that it proves when it is asked.
    """

    def __init__(
        self,
        directory: Path,
        *,
        transport: str,
        codec: str,
        microphone: Path,
        port: int = 0,
        dial: str = "",
        duration_s: float | None = None,
        encryption: str = "",
        files: Files | None = None,
        login: tuple[str, str] | None = None,
    ) -> None:
        modules = need_baresip()
        self._directory = directory
        self._duration_s = duration_s
        self._recordings = directory / "recordings"
        self._recordings.mkdir(parents=True)
        self._port = port or free_port()
        self._desk_port = free_port()
        first = free_range(100)
        settings = (
            "poll_method epoll",
            f"sip_listen {HOST}:{self._port}",
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
            *(f"module {name}.so" for name in ("g711", "aufile", "sndfile", "srtp")),
            *([] if files is None else [f"sip_certificate {_both(directory, files)}"]),
            *([] if files is None else [f"sip_cafile {files.authority}"]),
            *(f"module_tmp {name}.so" for name in ("uuid", "account")),
            "module_app menu.so",
            "module_app ctrl_tcp.so",
            f"ctrl_tcp_listen {HOST}:{self._desk_port}",
            f"snd_path {self._recordings.name}",  # it cuts names off at 128 bytes
        )
        (directory / "config").write_text("".join(f"{line}\n" for line in settings))
        (directory / "contacts").touch()
        media = f";mediaenc={encryption}" if encryption else ""
        if login is not None:
            media += f";auth_user={login[0]};auth_pass={login[1]}"
        (directory / "accounts").write_text(
            f"<{self.uri};transport={transport}>;regint=0;audio_codecs={codec};answermode=auto"
            f"{media}\n"
        )
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [
                    "baresip",
                    *("-f", str(directory)),
                    *([] if duration_s is None else ["-t", str(round(duration_s))]),
                    *(["-e", f"/dial {dial}"] if dial else []),
                ],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        ready = eventually(lambda: "baresip is ready" in self.output, 10)
        assert ready, f"baresip did not start:\n{self.output[-3000:]}"
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def uri(self) -> str:
        """Its address, over UDP."""
        return f"sip:caller@{HOST}:{self._port}"

    @property
    def tls_port(self) -> int:
        """Where it listens for TLS."""
        return self._port + 1

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(errors="replace")

    @property
    def heard_s(self) -> float:
        """How much it has recorded of what it heard, in all its calls."""
        return sum(path.stat().st_size for path in self._heard()) / 2 / RATE_HZ

    @property
    def sound_s(self) -> float:
        """How much of that is not silent. The length in a file's head comes when the call ends."""
        return sum(
            end - start
            for path in self._heard()
            for start, end in voiced(read_samples(path.read_bytes()[_WAV_HEAD:]))
        )

    # What the person does.

    def press(self, keys: str) -> None:
        """Keys, one after the other, in the call that goes on (RFC 4733)."""
        for key in keys:
            self._command("sndcode", key)

    def hold(self) -> None:
        self._command("hold")

    def resume(self) -> None:
        self._command("resume")

    def hang_up(self) -> None:
        self._command("hangup")

    def stop(self) -> Recording:
        """End it in good order, and its calls with it."""
        self._process.terminate()
        return self._ended(10)

    def result(self) -> Recording:
        """Wait for the end of its duration."""
        return self._ended((self._duration_s or 0) + 15)

    @property
    def _output(self) -> Path:
        return self._directory / "output"

    def _command(self, command: str, parameters: str = "") -> None:
        """Have a command of its menu carried out. JSON in netstrings goes both ways, and news of
        calls may come before the answer."""
        message = json.dumps({"command": command, "params": parameters}).encode()
        with (
            socket.create_connection((HOST, self._desk_port), 5) as desk,
            desk.makefile("rb") as stream,
        ):
            desk.sendall(b"%d:%b," % (len(message), message))
            told: dict[str, object] = {}
            while not told.get("response"):
                size = b""
                while (byte := stream.read(1)) != b":":
                    assert byte, f"{command}: no answer\n{self.output[-3000:]}"
                    size += byte
                told = json.loads(stream.read(int(size) + 1)[:-1])
        assert told["ok"], f"{command} {parameters}: {told}\n{self.output[-3000:]}"

    def _heard(self) -> list[Path]:
        return sorted(self._recordings.glob("*-dec.wav"))

    def _ended(self, timeout_s: float) -> Recording:
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        files = self._heard()
        assert files, f"baresip heard nothing:\n{self.output[-3000:]}"
        return Recording(read_wav(files[0]), self.output)


class BaresipCall(Baresip):
    """A call that is placed at once and hung up after some seconds."""

    def __init__(
        self,
        gateway: tuple[str, int],
        directory: Path,
        *,
        transport: str,
        codec: str,
        microphone: Path,
        duration_s: float,
        encryption: str = "",
        files: Files | None = None,
    ) -> None:
        super().__init__(
            directory,
            transport=transport,
            codec=codec,
            microphone=microphone,
            encryption=encryption,
            files=files,
            dial=f"sip:agent@{gateway[0]}:{gateway[1]};transport={transport}",
            duration_s=duration_s,
        )


def _both(directory: Path, files: Files) -> Path:
    """Certificate and key in one file, as it wants them."""
    both = directory / "identity.pem"
    both.write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
    return both
