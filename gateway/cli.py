"""The `gateway` command."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

_MOST = 10**12

# Each command imports what it needs, and not before it is the one to run: the embedded server must
# set up the environment of numpy first, and a service has no use for the test phone.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = next((word for word in arguments if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(prog="gateway", description="A phone line for voice agents.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_backend(commands)
    _add_call(commands, complete=command == "call")
    options = parser.parse_args(arguments)
    status: int = options.run(options)
    return status


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "serve", help="answer calls; configured by GATEWAY_ variables, see .env.example"
    )
    parser.set_defaults(run=_serve)


def _serve(_: argparse.Namespace) -> int:
    from gateway.settings import Settings, SettingsError

    try:
        settings = Settings.load()
    except SettingsError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2

    import uvloop

    from gateway.app import serve

    status: int = uvloop.run(serve(settings))
    return status


def _add_backend(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("backend", help="the embedded Realtime server alone")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_port, default=8090)
    parser.add_argument("--dialogue", type=Path, help="a TOML file; default: the built-in agent")
    parser.add_argument("--seed", type=int, help="makes ids and delays repeatable")
    parser.add_argument(
        "--session-limit-s", type=_above_zero, default=3600.0, help="default: %(default)g"
    )
    parser.add_argument(
        "--first-audio-ms",
        type=_zero_or_more,
        default=200.0,
        help="from the start of a response to its first audio; default: %(default)g",
    )
    parser.add_argument(
        "--jitter-ms",
        type=_zero_or_more,
        default=40.0,
        help="up to so much later is each piece of audio; default: %(default)g",
    )
    parser.add_argument(
        "--speedup",
        type=_above_zero,
        default=4.0,
        help="how many times faster than it plays audio is sent; default: %(default)g",
    )
    for budget, default in (("requests", 10_000), ("tokens", 10_000_000)):
        parser.add_argument(
            f"--{budget}-per-minute",
            type=_one_or_more,
            default=default,
            help="of a session; a response beyond it fails; default: %(default)d",
        )
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="stop after the first session: with status 0 if the dialogue's [[expect]] were met",
    )
    parser.add_argument("--faults", type=Path, help="a plan of faults, in TOML or JSON")
    parser.add_argument(
        "--test",
        action="store_true",
        help="test mode: faults by the header x-embedded-faults, and /control/ on loopback",
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=_backend)


def _backend(options: argparse.Namespace) -> int:
    from gateway import logs
    from gateway.backend.config import BackendConfig, Pacing, RateLimits
    from gateway.backend.run import run

    if options.child:
        # Its standard output belongs to its parent, and so does saying that it has started.
        logs.configure("json", "warning", sys.stderr)
    else:
        # What a caller does is what a rehearsal is about.
        logs.configure("", "debug" if options.rehearse else "info")
    config = BackendConfig(
        host=options.host,
        port=options.port,
        dialogue=options.dialogue,
        seed=options.seed,
        session_limit_s=options.session_limit_s,
        pacing=Pacing(options.first_audio_ms, options.jitter_ms, options.speedup),
        rate_limits=RateLimits(options.requests_per_minute, options.tokens_per_minute),
        faults=options.faults,
        test=options.test,
        rehearsals=not options.child,  # callers of a phone line rehearse nothing
        rehearse=options.rehearse,
    )
    return run(config, child=options.child)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 0 to 65535")
    return int(text)


def _one_or_more(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_MOST}")
    return int(text)


def _above_zero(text: str) -> float:
    value = _zero_or_more(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def _zero_or_more(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return value


def _add_call(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", *, complete: bool
) -> None:
    """Add the command, or, if it is not the one to run, only its line in the list of commands."""
    parser = commands.add_parser("call", help="a test phone: place a call and say what happened")
    if not complete:
        return

    from gateway.phone.command import add_arguments, run

    add_arguments(parser)
    parser.set_defaults(run=run)
