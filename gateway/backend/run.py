"""The embedded server as a process of its own.

It is its own process so that its voice detector never delays a media frame of the gateway. As a
child of the gateway it binds any port, writes one line of JSON with it, and lives for as long as
its standard input stays open: however the parent ends, the child ends too.
"""

import asyncio
import gc
import json
import os
import signal
import sys
import threading

import uvloop

from gateway.backend.config import BackendConfig

_CANNOT_SERVE = 1
_REHEARSAL_FAILED = 1
_BAD_FILE = 2


def run(config: BackendConfig, *, child: bool = False) -> int:
    """Serve until told to stop; returns the exit status. A rehearsal stops with its first session,
    and has status 0 only if that has passed.

    What keeps it from serving is one line on standard error.

    Args:
        child: write `{"port": N}` to standard output and stop when standard input ends. Signals
            that a terminal or a supervisor sends to the whole process group are left to the parent,
            which may still have calls to finish.
    """
    # The matrices are small: threads of the linear algebra library would only wait for each other.
    # It reads this when numpy is loaded, which is why the server is imported after it.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    status: int = uvloop.run(_serve(config, child=child))
    return status


async def _serve(config: BackendConfig, *, child: bool) -> int:
    from gateway.backend.dialogue import DialogueError
    from gateway.backend.fault_plan import FaultError
    from gateway.backend.server import serve
    from gateway.backend.silero import SileroError

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, (lambda: None) if child else stop.set)
    try:
        server = await serve(config)
    except (DialogueError, FaultError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return _BAD_FILE
    except (OSError, SileroError) as error:
        print(f"gateway: {error}", file=sys.stderr)
        return _CANNOT_SERVE
    if child:
        _announce(server.port)
        _watch_stdin(loop, stop)
    gc.collect()
    gc.freeze()
    if config.rehearse:
        server.rehearsed.add_done_callback(lambda _: stop.set())
    await stop.wait()
    await server.close()
    if not config.rehearse:
        return 0
    passed = server.rehearsed.done() and server.rehearsed.result()
    return 0 if passed else _REHEARSAL_FAILED


def _announce(port: int) -> None:
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()
    # The parent reads no more than this line; whatever is written later belongs to the log.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def _watch_stdin(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    def wait() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait, daemon=True).start()
