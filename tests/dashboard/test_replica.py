"""Reading from a hot standby: everything is read there, and how far it is behind is said."""

from __future__ import annotations

import asyncio
import contextlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from outrider import command
from outrider.errors import Fault, Reason
from outrider.filter import parse
from outrider_collector.store.connect import READ_ROLE, connect, driver_errors
from outrider_collector.store.reading import completeness, feed, health, logs
from outrider_dashboard.app import build
from outrider_dashboard.cli import make_site
from outrider_dashboard.source import open_source
from tests.dashboard.seed import Line, Seeder
from tests.filled import fill
from tests.replica import Replicated, replicated
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALL = parse("")
PAGES = (
    "/", "/logs", "/logs?q=refused", "/logs?q=%2Fre.used%2F", "/logs?q=service%3Aetl&live=1",
    "/workers", "/workers/trading/arb-binance-07@trade-03", "/health", "/alerts", "/audit",
    "/logs/export.jsonl", "/logs/export.csv", "/alerts/notices.json", "/readyz", "/metrics",
)  # fmt: skip


class Fleet(NamedTuple):
    """The servers, and who writes."""

    servers: Replicated
    seeder: Seeder


@pytest.fixture(scope="module")
def filled() -> Iterator[Fleet]:
    """A fleet in trouble on the primary, and all of it on the replica."""
    with replicated() as found:
        seeder = asyncio.run(fill(found.primary_url))
        found.caught_up()
        yield Fleet(found, seeder)


@pytest.fixture
def servers(filled: Fleet) -> Replicated:
    """The two servers."""
    return filled.servers


async def test_every_page_and_download_is_read_from_a_replica(servers: Replicated) -> None:
    """No page needs a lock, a temporary table or a write; each says how far behind it is."""
    records: list[tuple[str, dict[str, object]]] = []
    async with open_source(servers.replica_url) as source:
        site = make_site(source, "test", lambda name, about: records.append((name, about)))
        transport = httpx.ASGITransport(app=build(site))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            for path in PAGES:
                answer = await client.get(path)
                assert answer.status_code == 200, (path, answer.text[:500])
                if path in {"/", "/logs"}:
                    assert "the replica is" in answer.text
    assert [about for name, about in records if name == "ui.error_shown"] == []


async def test_the_tail_follows_what_a_replica_has_replayed(filled: Fleet) -> None:
    """A commit on the primary is in the next page of a tail of the replica, once."""
    servers = filled.servers
    async with await connect(servers.replica_url, application_name="t", role=READ_ROLE) as conn:
        number = await feed.last(conn)
        commit(filled, "fresh from the primary")
        servers.caught_up()
        page = await logs.tail(conn, number, ALL)
        assert [row.message for row in page.rows] == ["fresh from the primary"]
        assert (await logs.tail(conn, page.last_number, ALL)).rows == []


async def test_a_replica_behind_says_so_and_calls_nobody_silent(servers: Replicated) -> None:
    """Absence is not concluded from the replica's lag; what it shows is dated."""
    async with (
        await connect(servers.primary_url, application_name="t") as primary,
        await connect(servers.replica_url, application_name="t") as admin,
        await connect(servers.replica_url, application_name="t", role=READ_ROLE) as conn,
    ):

        async def all_silent() -> bool:
            return not any(one.alive for one in await health.collectors(primary))

        # Two seconds from being called silent.
        await primary.execute(
            "update collectors set seen_at = clock_timestamp() - make_interval(secs => %s)",
            (health.COLLECTOR_SILENT_S - 2,),
        )
        servers.caught_up()
        await admin.execute("select pg_wal_replay_pause()")
        try:
            await eventually(all_silent)
            now = datetime.now(UTC)
            since = now - timedelta(hours=1)
            behind = await completeness.completeness(conn, ALL, since, now)
            ahead = await completeness.completeness(primary, ALL, since, now)
        finally:
            await admin.execute("select pg_wal_replay_resume()")
    assert ahead.replica is None and ahead.standstill is not None
    assert behind.replica is not None and behind.standstill is None
    assert 1 < behind.replica.behind_s < 30
    said = completeness.text(completeness.sentence(behind, now))
    assert re.match(r"As of \d\d:\d\d:\d\d UTC, the replica is \d+ s behind. Complete up", said)


async def test_a_read_that_gives_way_to_replay_says_so(servers: Replicated) -> None:
    """It is told as what it is, and as something that may be asked again."""
    with psycopg.connect(servers.primary_url, autocommit=True) as primary:
        primary.execute("create table gone (n int); insert into gone values (1)")
        servers.caught_up()
        async with await connect(servers.replica_url, application_name="t", role=READ_ROLE) as conn:
            await conn.execute("reset role")

            async def read() -> None:
                with driver_errors(servers.replica_url):
                    await conn.execute("select pg_sleep(60) from gone")

            reading = asyncio.create_task(read())
            await eventually(lambda: primary_sees_reader(servers))
            primary.execute("drop table gone")
            with pytest.raises(Fault, match="hot_standby_feedback") as caught:
                await reading
    # By which the pages know that it is worth asking again.
    assert caught.value.reason is Reason.STORE_DOWN
    assert caught.value.metadata["sqlstate"] == "40001"


def test_logs_reads_where_the_settings_say(
    servers: Replicated, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """`[database] read_url` leads to the replica; one that is away is named, or passed over where
    the primary is named as well.
    """
    monkeypatch.delenv("OUTRIDER_DATABASE_URL", raising=False)
    file = tmp_path / "outrider.toml"
    settings = f'[database]\nurl = "{servers.primary_url}"\nread_url = "%s"\n'
    file.write_text(settings % servers.replica_url)
    asked = ["logs", "service:etl", "--limit", "3", "--config", str(file)]
    assert command.main(asked) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 3
    assert "the replica is" in said.err
    file.write_text(settings % "postgresql://127.0.0.1:1/outrider")
    assert command.main(asked) == 1
    assert "cannot reach the database: 127.0.0.1:1/outrider" in capsys.readouterr().err
    # As the manual says: the replica first, the primary while it is away.
    both = make_conninfo(
        servers.primary_url,
        host=f"/nowhere,{servers.primary.socket_dir}",
        target_session_attrs="prefer-standby",
    )
    file.write_text(settings % both)
    assert command.main(asked) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 3 and "replica" not in said.err


def primary_sees_reader(servers: Replicated) -> bool:
    """Tell whether the replica runs the long read."""
    with contextlib.closing(psycopg.connect(servers.replica_url, autocommit=True)) as replica:
        row = replica.execute(
            "select count(*) from pg_locks l join pg_class c on c.oid = l.relation"
            " where c.relname = 'gone'"
        ).fetchone()
    return bool(row and row[0])


def commit(fleet: Fleet, message: str) -> None:
    """Commit one line as a collector would."""
    with psycopg.connect(fleet.servers.primary_url, autocommit=True) as primary:
        seeder = fleet.seeder
        seeder.connection = primary
        stream = next(s for (service, _), s in seeder.streams.items() if service == "etl")
        seeder.block("etl", [(stream, Line(seeder.now, 9, message))], datetime.now(UTC))
