"""``outrider collector``: run (the default), check, revoke."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import outrider
from outrider.command import DONE, FAILED, FOUND, USAGE
from outrider.configuration import ConfigError
from outrider.configuration import inbox as find_inbox
from outrider.errors import Fault, Reason
from outrider_collector import config as configuration
from outrider_collector.store import agents, schema
from outrider_collector.store.audit import log
from outrider_collector.store.audit.log import Act
from outrider_collector.store.connect import connect, driver_errors
from outrider_collector.store.database_url import target
from outrider_collector.store.reading import health
from outrider_collector.terminal.commands import actor

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from outrider_collector.config import Configuration

# What starting again cannot put right: somebody must change something first.
_UNUSABLE = {Reason.CONFIG_INVALID, Reason.STORE_BEHIND, Reason.RULES_TOO_NEW}


def main(argv: list[str]) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    config = configuration.load(arguments.config)
    inbox = str(find_inbox(arguments.config))
    if arguments.act == "check":
        return _guarded(_check(config))
    if arguments.act == "revoke":
        return _guarded(_revoke(config, arguments.agent, inbox))
    return _guarded(_run(config, inbox))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="outrider collector",
        description="Takes agents' logs and heartbeats, commits them, evaluates, tells people.",
    )
    # Before the act or after it; after it must not undo what was said before.
    what = "configuration instead of the usual place"
    parser.add_argument("--config", metavar="FILE", help=what)
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--config", metavar="FILE", help=what, default=argparse.SUPPRESS)
    acts = parser.add_subparsers(dest="act", metavar="ACT")

    def act(name: str, summary: str) -> argparse.ArgumentParser:
        return acts.add_parser(name, help=summary, parents=[common], allow_abbrev=False)

    act("run", "serve agents until SIGTERM or SIGINT (the default)")
    act("check", "configuration, database and address: what would keep it from running")
    revoke = act("revoke", "withdraw an agent's access, effective at its next commit")
    revoke.add_argument(
        "agent", type=int, metavar="AGENT", help="its id, as `outrider status` shows"
    )
    return parser


def _guarded(work: Coroutine[Any, Any, int]) -> int:
    """Run to the end; faults become a line and an exit code."""
    try:
        return asyncio.run(work)
    except (Fault, ConfigError, BaseExceptionGroup) as error:
        cause = _first(error)
        if isinstance(cause, ConfigError):
            code = USAGE
        elif isinstance(cause, Fault):
            code = USAGE if cause.reason in _UNUSABLE else FAILED
        else:
            raise  # a mistake of ours: whoever looks for it needs the traceback
    print(f"outrider: {cause}", file=sys.stderr)  # noqa: T201  errors go to standard error
    return code


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _run(config: Configuration, inbox: str) -> int:
    # Imported here: `check` and `revoke` need no gRPC.
    from outrider_collector.run import run  # noqa: PLC0415

    outrider.init(service="outrider", worker=config.collector.name or "collector", inbox=inbox)
    _route_logging()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await run(config, stop)
    return DONE


def _route_logging() -> None:
    """Send the standard library's logging to the SDK, and warnings to the terminal as well."""
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING)
    terminal.setFormatter(logging.Formatter("outrider collector: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[outrider.Handler(), terminal])
    for ours in ("outrider_collector", "outrider_alerting"):
        logging.getLogger(ours).setLevel(logging.INFO)


async def _check(config: Configuration) -> int:
    """Say what would keep a collector from running; 3 when there is something."""
    running: list[str] = []
    found = [await _database_finding(config, running)]
    if not _is_free(*config.collector.address()) and not running:
        found.append(
            f"cannot listen on {config.collector.listen}: another program has the address: "
            "'ss -ltnp' names it; stop it, or change `listen` of [collector]"
        )
    findings = [line for line in found if line]
    for line in findings:
        print(line)  # noqa: T201  what was asked for
    if not findings and running:
        print(f"{running[0]}; configuration and database are in order")  # noqa: T201
    elif not findings:
        print(f"{config.collector_name}: configuration, database and address are in order")  # noqa: T201
    return FOUND if findings else DONE


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # As gRPC binds: a port in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError:
            return False
    return True


async def _database_finding(config: Configuration, running: list[str]) -> str:
    """Return what is wrong with the database; adds the collector that serves the address."""
    try:
        connection = await connect(config.database_url, application_name="outrider check")
        async with connection:
            with driver_errors(config.database_url):
                state = await schema.check(connection)
                # A running collector stays a fact, whatever is to be migrated.
                for one in await health.collectors(connection) if state.version else []:
                    pid = one.status.get("pid")
                    if one.alive and one.name == config.collector_name and _is_process(pid):
                        running.append(
                            f"{one.name}: a collector (pid {pid}) serves {config.collector.listen}"
                        )
                state.require(config.database_url)
    except Fault as fault:
        return fault.text
    return ""


def _is_process(pid: object) -> bool:
    return isinstance(pid, int) and Path(f"/proc/{pid}").exists()


async def _revoke(config: Configuration, agent: int, inbox: str) -> int:
    connection = await connect(config.database_url, application_name="outrider revoke")
    async with connection:
        with driver_errors(config.database_url):
            act = Act("auth.token_revoked", actor(), f"agent {agent}")
            async with connection.transaction():
                known = await agents.revoke(connection, agent)
                audit_id = await log.add_act(connection, act, worker="cli") if known else 0
    if not known:
        raise Fault(
            Reason.NOT_FOUND,
            detail=f"there is no agent {agent}: {target(config.database_url)}: "
            "list them with `outrider status`",
        )
    outrider.init(service="outrider", worker="cli", inbox=inbox)
    log.tell(act, audit_id)
    print(f"agent {agent} is revoked: nothing it sends is committed any more")  # noqa: T201
    return DONE
