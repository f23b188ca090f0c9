"""Gathers the facts: of the database, of this host, of the collector."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import msgspec

from outrider.configuration import find, load
from outrider.errors import Fault
from outrider_collector.doctor import agent_settings, judge
from outrider_collector.doctor.finding import Finding
from outrider_collector.service.tokens import ADMIN_FILE
from outrider_collector.store import advisory, partitions, roles, rules, schema
from outrider_collector.store.connect import READ_ROLE, connect, driver_errors
from outrider_collector.store.database_url import (
    EMBEDDED_HOME,
    EMBEDDED_SOCKET,
    DatabaseConfig,
    database_url,
    target,
)
from outrider_collector.store.reading import alerts, fleet, health, room
from outrider_collector.terminal.commands import reading_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from psycopg import AsyncConnection

    from outrider_alerting.rules import RuleSet
    from outrider_collector.config import Configuration

CONNECT_WITHIN_S = 3.0

_ROLE = """
select exists (select from pg_roles where rolname = %(role)s),
       coalesce((select pg_has_role(current_user, oid, 'member') from pg_roles
                 where rolname = %(role)s), false)
"""


async def examine(config: Configuration, file: str | None) -> AsyncIterator[Finding]:
    """Yield all findings, each as soon as it is known."""
    found = find(file)
    yield Finding("ok", "settings", str(found) if found else "none, the defaults hold")
    if (of_agent := await agent_settings.examine(file)) is not None:
        yield of_agent
    told = agent_settings.collectors(file)
    apart = judge.collectors_of_agent(config.collector.listen, told, str(found)) if told else None
    if apart is not None:
        yield apart
    for finding in _disks(config):
        yield finding
    if (elsewhere := _two_installations(config, file)) is not None:
        yield elsewhere
    host, port = config.collector.address()
    yield judge.address(config.collector.listen, answers=await _answers(host.strip("[]"), port))
    try:
        async with await connect(config.database_url, application_name="outrider doctor") as conn:
            with driver_errors(config.database_url):
                async for finding in _database(
                    conn, config, reading_url(file), looks_elsewhere=apart is not None
                ):
                    yield finding
    except Fault as fault:
        yield Finding("bad", "database", fault.text)


def _two_installations(config: Configuration, file: str | None) -> Finding | None:
    if not os.environ.get("OUTRIDER_DATABASE_URL"):
        return None
    database: DatabaseConfig = load(file, msgspec.convert, {"database": DatabaseConfig})["database"]
    is_configured = bool(database.url or database.url_file)
    if not is_configured and not (config.data_dir / EMBEDDED_HOME).exists():
        return None
    settings = target(database_url(database, config.data_dir, {}))
    return judge.installations(target(config.database_url), settings, is_configured=is_configured)


def _disks(config: Configuration) -> Iterator[Finding]:
    # The embedded database may have been given a disk of its own.
    paths = [_existing(config.data_dir), _existing(config.data_dir / EMBEDDED_HOME)]
    for path in {path.stat().st_dev: path for path in reversed(paths)}.values():
        usage = shutil.disk_usage(path)
        yield judge.disk(str(path), usage.total, usage.free)


def _existing(path: Path) -> Path:
    """Return the path, or the nearest directory above it that is there."""
    while not path.exists():
        path = path.parent
    return path


async def _answers(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(CONNECT_WITHIN_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _database(
    conn: AsyncConnection[Any], config: Configuration, read_url: str, *, looks_elsewhere: bool
) -> AsyncIterator[Finding]:
    yield Finding("ok", "database", f"{target(config.database_url)} answers")
    name = conn.info.parameter_status("server_version") or "?"
    lz4 = await partitions.has_lz4(conn)
    is_ours = conn.info.host == str(config.data_dir / EMBEDDED_SOCKET)
    yield judge.server(conn.info.server_version, name.split(" ")[0], has_lz4=lz4, is_ours=is_ours)
    yield judge.clock(await _skew_s(conn))
    state = await schema.check(conn)
    finding = judge.schema(state)
    yield finding
    exists, may_take = await _one(conn, _ROLE, {"role": READ_ROLE})
    yield judge.read_role(READ_ROLE, exists=exists, may_take=may_take)
    yield judge.locks(open_to_all=await advisory.open_to_all(conn))
    yield judge.room_of_readers(fillable_by_all=await advisory.fillable_by_all(conn))
    if finding.level == "bad":
        return  # the rest would ask tables that are not there or not as they should be
    yield await _readers(read_url)
    yield judge.partitions(await partitions.hours_left(conn))
    now = await health.now(conn)
    published = await health.collectors(conn)
    for finding in judge.collectors(published, now):
        yield finding
    for finding in judge.room(room.room(published)):
        yield finding
    for finding in judge.agents(await fleet.agents(conn), now, looks_elsewhere=looks_elsewhere):
        yield finding
    active = await rules.active(conn)
    rule_set = active.rule_set if active else None
    for finding in judge.rules(active.version if active else None, rule_set):
        yield finding
    for finding in _channels(rule_set, config):
        yield finding
    channels = [channel.name for channel in rule_set.channels] if rule_set else []
    for finding in judge.deliveries(await alerts.undelivered(conn, channels)):
        yield finding


async def _readers(url: str) -> Finding:
    try:
        async with await connect(url, application_name="outrider doctor", role=READ_ROLE) as conn:
            with driver_errors(url):
                sight = await roles.sight(conn)
    except Fault as fault:
        return Finding("bad", "readers", fault.text)
    return judge.readers(target(url), sight)


def _channels(rule_set: RuleSet | None, config: Configuration) -> Iterator[Finding]:
    if rule_set is None or not rule_set.channels:
        return
    # Imported here: without channels neither mail nor Telegram is needed.
    from outrider_alerting.channels.build import build  # noqa: PLC0415
    from outrider_alerting.channels.channel import ChannelError  # noqa: PLC0415

    secrets_dir = config.data_dir / "collector"
    here = os.access(secrets_dir / ADMIN_FILE, os.F_OK)
    for channel in rule_set.channels:
        error = ""
        try:
            build(channel, secrets_dir)
        except ChannelError as refusal:
            error = str(refusal)
        yield judge.channel(channel.name, error, is_collector_host=here)


async def _skew_s(conn: AsyncConnection[Any]) -> float:
    """Return how far this host's clock is ahead of the database's; the way there is halved."""
    before = time.time()
    (theirs,) = await _one(conn, "select extract(epoch from clock_timestamp())::float8", {})
    return (before + time.time()) / 2 - float(theirs)


async def _one(conn: AsyncConnection[Any], query: Any, parameters: dict[str, Any]) -> Any:
    row = await (await conn.execute(query, parameters)).fetchone()
    assert row is not None  # noqa: S101  these selects return one row
    return row
