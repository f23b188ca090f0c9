"""``outrider agent``: ``run`` (default), ``check``, ``explain FILE`` and ``status``."""

from __future__ import annotations

import argparse
import resource
import signal
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from outrider.configuration import ConfigError, find
from outrider_agent import configuration
from outrider_agent.reports import Reports

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    config = configuration.load(arguments.config)
    if arguments.action == "check":
        from outrider_agent import check  # noqa: PLC0415  loads OpenSSL, by way of hashlib

        file = find(arguments.config)
        sys.stdout.write(f"settings     {file or 'none: the defaults'}\n")
        return check.run(config, sys.stdout.write, probe=arguments.probe)
    if arguments.action in {"explain", "status"}:
        return _ask(arguments, config)
    return run(config, arguments.config)


def _ask(arguments: argparse.Namespace, config: configuration.Configuration) -> int:
    from outrider_agent import explain, status  # noqa: PLC0415  the agent itself needs neither

    if arguments.action == "status":
        return status.run(config, sys.stdout.write, json=arguments.json)
    if not arguments.file:
        raise ConfigError("no file is named", "explain", "write `outrider agent explain FILE`")
    return explain.run(config, arguments.file, sys.stdout.write)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, prog="outrider agent", description="The agent of this host."
    )
    parser.add_argument("--config", metavar="FILE", help="configuration (default: see README)")
    parser.add_argument(
        "action",
        nargs="?",
        choices=("run", "check", "explain", "status"),
        default="run",
        help="run (default); check: the configuration, and what each source would match; "
        "explain FILE: why a file is read or not, and how far; status: how the running agent is",
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="for explain")
    parser.add_argument("--json", action="store_true", help="for status: one JSON document")
    parser.add_argument(
        "--probe", action="store_true", help="for check: let each probe look once, now"
    )
    return parser


def run(config: configuration.Configuration, file: str | None = None) -> int:
    """Run the agent until SIGTERM or SIGINT; a second one ends it at once.

    SIGHUP has the configuration read anew from ``file``, or where it is looked for.
    """
    _do_without_openssl()
    import asyncio  # noqa: PLC0415  looks for OpenSSL when it is loaded

    from outrider_agent import agent  # noqa: PLC0415  loads gRPC

    _raise_file_limit()
    agent.ignore_lease_breaks()
    reports = Reports()

    async def body() -> None:
        stop, hangup = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stop_or_die, stop, number)
        loop.add_signal_handler(signal.SIGHUP, hangup.set)
        await agent.run(
            config, reports, stop, hangup=hangup, reread=lambda: configuration.load(file)
        )

    asyncio.run(body())
    return 0


def _stop_or_die(stop: asyncio.Event, number: int) -> None:
    if stop.is_set():
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    stop.set()


def _do_without_openssl() -> None:
    """Keep 5 MB out of memory that the agent has no use for: gRPC brings what TLS needs itself.

    asyncio does without ``ssl``, and hashlib without ``_hashlib`` where Python has its own SHA-256.
    """
    modules: dict[str, object] = sys.modules  # type: ignore[assignment]  # None: not importable
    if "asyncio" not in modules:
        modules.setdefault("ssl", None)
    if "hashlib" not in modules and any(map(find_spec, ("_sha2", "_sha256"))):
        modules.setdefault("_hashlib", None)


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
