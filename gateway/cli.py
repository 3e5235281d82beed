"""The `gateway` command."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

# Each command imports what it needs: a test phone has no use for the model's side.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="gateway", description="A phone line for voice agents.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands)
    _add_backend(commands)
    _add_call(commands)
    options = parser.parse_args(arguments)
    status: int = options.run(options)
    return status


def _add_serve(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "serve", help="answer calls; configured by GATEWAY_ variables, see .env.example"
    )
    parser.set_defaults(run=_serve)


def _serve(_: argparse.Namespace) -> int:
    import uvloop

    from gateway.app import serve
    from gateway.settings import Settings, SettingsError

    try:
        settings = Settings.load()
    except SettingsError as error:
        print(f"gateway: {error}", file=sys.stderr)
        return 2
    status: int = uvloop.run(serve(settings))
    return status


def _add_backend(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("backend", help="the embedded Realtime server alone")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--dialogue", type=Path, help="a TOML file; default: the built-in agent")
    parser.add_argument("--seed", type=int, help="makes ids and delays repeatable")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=_backend)


def _backend(options: argparse.Namespace) -> int:
    from gateway import logs
    from gateway.backend.config import BackendConfig
    from gateway.backend.run import run

    # A child's standard output belongs to its parent.
    logs.configure("", "info", sys.stderr if options.child else sys.stdout)
    run(
        BackendConfig(
            host=options.host, port=options.port, dialogue=options.dialogue, seed=options.seed
        ),
        child=options.child,
    )
    return 0


def _add_call(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from gateway.phone.command import add_arguments, run

    parser = commands.add_parser("call", help="a test phone: place a call and say what happened")
    add_arguments(parser)
    parser.set_defaults(run=run)
