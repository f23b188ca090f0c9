"""The process tree of `outrider up`: what starts, in which order, and how it ends.

Postgres, schema, collector, agent, dashboard, demo workers; stopped in the opposite order, so that
the agent hands over what the workers wrote last and the collector commits it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from outrider.command import USAGE, version
from outrider.configuration import ConfigError, find, load
from outrider.configuration import inbox as find_inbox
from outrider.errors import Fault
from outrider.places import COLLECTOR_ADDRESS, COLLECTOR_PORT, DASHBOARD_ADDRESS, DASHBOARD_PORT
from outrider.standard_streams import tell
from outrider_collector.config import is_reached
from outrider_collector.store.connect import connect, driver_errors
from outrider_collector.store.database_url import (
    EMBEDDED_HOME,
    EMBEDDED_SOCKET,
    DatabaseConfig,
    database_url,
)
from outrider_collector.store.schema import migrate
from outrider_collector.up.announce import announce_alerts
from outrider_collector.up.apply import apply_rules
from outrider_collector.up.children import Child
from outrider_collector.up.layout import Layout
from outrider_collector.up.postgres import Postgres
from outrider_collector.up.postgres_keeper import PostgresKeeper
from outrider_collector.up.settings import must_be_right

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_READY_WITHIN_S = 30.0
_DEMO_RESTART_PAUSE_S = 15.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said."""

    data: Path
    demo: bool


class _Listen(msgspec.Struct):
    """The one key of a part's table that this process needs."""

    listen: str = ""


class _Agent(msgspec.Struct):
    """The keys of the agent's table that this process needs."""

    collectors: tuple[str, ...] | None = None


def say(text: str) -> None:
    """One line for the person at the terminal."""
    tell(f"{text}\n", sys.stdout)


def warn(text: str) -> None:
    """One line about what goes wrong and is being mended."""
    tell(f"{text}\n", sys.stderr)


async def run(options: Options) -> int:
    """Start everything, announce alerts until SIGINT or SIGTERM, stop everything."""
    layout = Layout(options.data)
    layout.prepare(
        collector_port=COLLECTOR_PORT,
        dashboard_port=DASHBOARD_PORT,
        environment="demo" if options.demo else "local",
    )
    lock = layout.hold()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    say(f"Outrider {version()}, data in {layout.root}")
    unusable: list[Child] = []

    def give_up(child: Child) -> None:
        unusable.append(child)
        stop.set()

    try:
        async with contextlib.AsyncExitStack() as stack:
            await _start(options, layout, stack, stop, give_up)
        say("Stopped. The data stays.")
    finally:
        os.close(lock)
    if unusable:
        raise _cannot_run(unusable[0])
    return 0


def _cannot_run(child: Child) -> ConfigError:
    """Everything ends where one part cannot run: a half that looks whole would be worse."""
    return ConfigError(f"the {child.name} cannot run: {child.last_words()}", f"log: {child.log}")


async def _start(
    options: Options,
    layout: Layout,
    stack: contextlib.AsyncExitStack,
    stop: asyncio.Event,
    give_up: Callable[[Child], None],
) -> None:
    await must_be_right(layout.configuration)
    listen = _addresses(layout)
    inbox = find_inbox(layout.configuration)
    for part, address in listen.items():
        await _must_be_free(part, address, layout)
    url = await _database(layout, stack)
    environment = {
        **os.environ,
        "OUTRIDER_CONFIG": str(layout.configuration),
        "OUTRIDER_INBOX": str(inbox),
        "OUTRIDER_DATABASE_URL": url,
    }

    def child(name: str, *argv: str, restart_pause_s: float | None = None) -> Child:
        log = layout.logs / f"{name}.log"
        on_unusable = give_up if restart_pause_s is None else None
        return Child(name, argv, log, environment, warn, restart_pause_s, on_unusable)

    async def started(process: Child) -> Child:
        await process.start()
        stack.push_async_callback(process.stop)
        return process

    outrider = (sys.executable, "-m", "outrider.command")
    collector = await started(child("collector", *outrider, "collector", "run"))
    await _listening(listen["collector"], collector, stop)
    if stop.is_set():
        return
    await apply_rules(layout.rules, environment, url, say)
    await started(child("agent", *outrider, "agent", "run"))
    dashboard = await started(child("dashboard", *outrider, "dashboard"))
    await _listening(listen["dashboard"], dashboard, stop)
    if stop.is_set():
        return
    say(f"  dashboard  http://{listen['dashboard']}")
    say(f"  settings   {layout.configuration}")
    say(f"  inbox      {inbox}")
    say(f"  rules      {layout.rules}")
    for line in _exports(layout, url, inbox):
        say(line)
    workers = _demo_workers(child) if options.demo else []
    for worker in workers:
        await started(worker)
    if workers:
        names = ", ".join(worker.name for worker in workers)
        say(f"  demo       {names}: an alert fires within a minute and resolves")
    say("Ctrl-C stops everything.")
    await announce_alerts(url, stop, say)
    say(f"Stopping at {datetime.now(UTC):%H:%M:%S} UTC ...")


def _exports(layout: Layout, url: str, inbox: Path) -> list[str]:
    """Return the lines of what commands and workers would not find by themselves."""
    lines = []
    if find(None) != layout.configuration:
        # Neither at its usual place nor named by the environment.
        lines.append(f"export OUTRIDER_CONFIG={layout.configuration}   for commands")
        lines.append(f"export OUTRIDER_INBOX={inbox}   for workers")
    if os.environ.get("OUTRIDER_DATABASE_URL"):
        # What may hold a password is not printed.
        shown = f"'{url}'" if "@" not in url and "password" not in url else "...  as here,"
        lines.append(f"export OUTRIDER_DATABASE_URL={shown}   for commands")
    heads = ["elsewhere", *[""] * len(lines)]
    return [f"  {head:<9}  {line}" for head, line in zip(heads, lines, strict=False)]


async def _database(layout: Layout, stack: contextlib.AsyncExitStack) -> str:
    """Return the URL of a migrated database: the one given, else an embedded one, started here."""
    configured = load(layout.configuration, msgspec.convert, {"database": DatabaseConfig})
    config: DatabaseConfig = configured["database"]
    named = os.environ.get("OUTRIDER_DATABASE_URL")
    if named or config.url or config.url_file:
        source = "OUTRIDER_DATABASE_URL" if named else "[database] of the settings"
        say(f"  database   from {source}")
        url = database_url(config, layout.root)
        await migrate(url)
        return url
    postgres = Postgres(layout.root / EMBEDDED_HOME, layout.root / EMBEDDED_SOCKET)
    keeper = PostgresKeeper(postgres, warn)
    await keeper.start()
    stack.push_async_callback(keeper.stop)
    await _create_database(postgres)
    await migrate(postgres.url())
    async with await connect(postgres.url(), application_name="outrider up") as connection:
        # The dashboard signs in as the reader itself: no way back to a role that writes.
        with driver_errors(postgres.url()):
            await connection.execute("alter role outrider_read login")
            row = await (await connection.execute("show server_version")).fetchone()
    say(f"  database   Postgres {row[0] if row else '?'}, embedded")
    say(f"  psql       {postgres.psql()}")
    return postgres.url()


async def _create_database(postgres: Postgres) -> None:
    connection = await connect(postgres.url("postgres"), application_name="outrider up")
    async with connection:
        with driver_errors(postgres.url("postgres")):
            found = await connection.execute("select 1 from pg_database where datname = 'outrider'")
            if await found.fetchone() is None:
                await connection.execute("create database outrider")


def _addresses(layout: Layout) -> dict[str, str]:
    """Where the parts listen, as the configuration says.

    Raises ConfigError where commands, or the agent, would look for them in another place.
    """
    tables = load(
        layout.configuration,
        msgspec.convert,
        {"data_dir": str, "collector": _Listen, "dashboard": _Listen, "agent": _Agent},
    )
    layout.check(tables.get("data_dir"))
    defaults = {"collector": COLLECTOR_ADDRESS, "dashboard": DASHBOARD_ADDRESS}
    found = {name: tables[name].listen or address for name, address in defaults.items()}
    port = found["collector"].rpartition(":")[2]
    told = tables["agent"].collectors
    if told is not None and not is_reached(found["collector"], told):
        warn(
            f"outrider: the collector listens on {found['collector']}, and the agent looks for one "
            f"on {', '.join(told)}: {layout.configuration}: correct `collectors` of [agent]"
        )
    if told is None and port != str(COLLECTOR_PORT):
        raise ConfigError(
            f"the collector listens on {found['collector']}, and the agent would look for it "
            f"on {COLLECTOR_ADDRESS}",
            str(layout.configuration),
            f'write collectors = ["127.0.0.1:{port}"] under [agent]',
        )
    return found


async def _must_be_free(part: str, address: str, layout: Layout) -> None:
    """Raise ConfigError where somebody listens: our child could not, and would show theirs."""
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return
    writer.close()
    raise ConfigError(
        f"another program listens on {address}, the address of the {part}",
        str(layout.configuration),
        f"stop it ('ss -ltnp' names it), or change `listen` of [{part}]"
        + (" and `collectors` of [agent]" if part == "collector" else ""),
    )


async def _listening(address: str, process: Child, stop: asyncio.Event) -> None:
    """Wait until somebody answers at ``address``; Fault with the child's last words if nobody."""
    host, _, port = address.rpartition(":")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _READY_WITHIN_S
    while not stop.is_set():
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            code = process.process.returncode if process.process is not None else None
            if code == USAGE:
                await stop.wait()  # its keeper gives up and says why
                return
            ended = code is not None
            if ended or loop.time() > deadline:
                raise Fault(
                    "INTERNAL_BUG" if not ended else "CONFIG_INVALID",
                    detail=f"the {process.name} did not start at {address}: "
                    f"{process.last_words()}: see {process.log}",
                ) from None
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


def _demo_workers(child: Callable[..., Child]) -> list[Child]:
    worker = (sys.executable, "-m", "outrider_collector.up.demo_worker")
    under_run = (
        sys.executable, "-m", "outrider.command",
        "run", "--service", "scrapers", "--worker", "scraper", "--quiet", "--",
    )  # fmt: skip
    pause = _DEMO_RESTART_PAUSE_S
    return [
        child("orders", *worker, "orders", restart_pause_s=pause),
        child("prices", *worker, "prices", restart_pause_s=pause),
        child("scraper", *under_run, *worker, "scraper", str(time.time()), restart_pause_s=pause),
    ]
