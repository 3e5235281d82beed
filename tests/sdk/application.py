"""Scripts of `tests/sdk/node` as applications that do what the test tells them.

A script is run by Node, or by a page in Chromium (see `page`). Either way commands go to it and
messages come from it, JSON objects both, and the test does not see which of the two it is.
"""

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.peers.record import EVENTS
from tests.sdk.embedded import EmbeddedServer
from tests.sdk.schemas import NODE, NODE_FOLDER
from tests.sdk.site import KEY, SECRET, Site

Message = dict[str, Any]


class CommandError(Exception):
    """The command failed in the script; `fields` has the client's class and what was answered."""

    def __init__(self, fields: Message) -> None:
        super().__init__(str(fields))
        self.fields = fields


class Application:
    """What comes from a script. How commands go to it is up to a subclass."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._taken = 0
        self._answers = 0
        self._news = threading.Condition()
        self._noise: list[str] = []
        """What it complained of."""

    def do(self, command: str, timeout_s: float = 15.0, **fields: object) -> Any:
        """Have a command carried out; returns its result.

        Raises:
            CommandError: it failed.
        """
        self._send(json.dumps({"do": command, **fields}))
        answers = self._wait_for_answer(self._answers, timeout_s, command)
        self._answers += 1
        if "error" in answers:
            raise CommandError(answers["error"])
        return answers["result"]

    def next(self, name: str, timeout_s: float = 10.0) -> Any:
        """What the next message with this key says; looks from behind the last one taken."""
        with self._news:
            index, message = self._find(lambda one: name in one, self._taken, timeout_s, name)
            self._taken = index + 1
            return message[name]

    def event(self, kind: str, timeout_s: float = 10.0, *, anywhere: bool = False) -> Message:
        """The next event of this type, or the first one wherever it came."""
        with self._news:
            index, message = self._find(
                lambda one: one.get("event", {}).get("type") == kind,
                0 if anywhere else self._taken,
                timeout_s,
                kind,
            )
            self._taken = max(self._taken, index + 1)
            event: Message = message["event"]
            return event

    def said(self, name: str) -> list[Any]:
        """All that messages with this key have said so far."""
        with self._news:
            return [message[name] for message in self._messages if name in message]

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.said("event")]

    def _send(self, command: str) -> None:
        raise NotImplementedError

    def _over(self) -> bool:
        """Whether nothing can come any more."""
        raise NotImplementedError

    def _came(self, line: str) -> None:
        with self._news:
            message = json.loads(line)
            if "event" in message:
                EVENTS.append(message["event"])
            self._messages.append(message)
            self._news.notify_all()

    def _wait_for_answer(self, number: int, timeout_s: float, command: str) -> Message:
        with self._news:
            deadline = time.monotonic() + timeout_s
            while True:
                answers = [one for one in self._messages if "result" in one or "error" in one]
                if len(answers) > number:
                    return answers[number]
                self._wait(deadline, f"no answer to {command}")

    def _find(self, fits: Any, first: int, timeout_s: float, wanted: str) -> tuple[int, Message]:
        deadline = time.monotonic() + timeout_s
        while True:
            for index in range(first, len(self._messages)):
                if fits(self._messages[index]):
                    return index, self._messages[index]
            self._wait(deadline, f"no {wanted}")

    def _wait(self, deadline: float, complaint: str) -> None:
        left = deadline - time.monotonic()
        if left <= 0 or self._over():
            came = [one["event"]["type"] if "event" in one else one for one in self._messages]
            raise AssertionError(f"{complaint}; came: {came[-30:]}; {self._noise}")
        self._news.wait(min(left, 0.5))


class NodeApplication(Application):
    """A script that Node runs. Use as a context manager.

    Args:
        script: a file of `tests/sdk/node`.
        site: whose base URL and key it is given; None when it does not use the API.
        authority: the certificate to trust, as a file; None where there is no TLS.
        arguments: of the script.
    """

    def __init__(
        self,
        script: str,
        site: Site | EmbeddedServer | None,
        authority: Path | None = None,
        *arguments: str,
    ) -> None:
        super().__init__()
        own = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
        trusted = {} if authority is None else {"NODE_EXTRA_CA_CERTS": str(authority)}
        self._process = subprocess.Popen(
            [NODE, script, *arguments],
            cwd=NODE_FOLDER,
            env={
                **own,
                **({} if site is None else _client_settings(site)),
                **trusted,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._threads = [
            threading.Thread(target=self._read),
            threading.Thread(target=self._read_noise),
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.next("ready", timeout_s=30)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._process.stdin.close()
        try:
            status = self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        for thread in self._threads:
            thread.join()
        self._process.stdout.close()
        self._process.stderr.close()
        if exc_type is None:
            assert status == 0 and not self._noise, f"{status}: {self._noise}"

    def _send(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def _over(self) -> bool:
        return self._process.poll() is not None and not self._threads[0].is_alive()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._came(line)

    def _read_noise(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._noise.append(line.rstrip())


def _client_settings(site: Site | EmbeddedServer) -> dict[str, str]:
    return {
        "OPENAI_BASE_URL": site.base_url,
        "OPENAI_API_KEY": KEY,
        "OPENAI_WEBHOOK_SECRET": SECRET,
    }
