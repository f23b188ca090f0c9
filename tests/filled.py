"""A database that is full as one in use is: both levels of blocks, health, alerts, audit."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import make_conninfo

from outrider_collector.store.compaction.compactor import Pace
from outrider_collector.store.connect import READ_ROLE
from tests.collector.reading.compacting import compact
from tests.dashboard import seed_alerts, seed_audit, seed_fleet, seed_health
from tests.dashboard.seed import CLOSED, Line, Seeder

if TYPE_CHECKING:
    from collections.abc import Iterator

HOURS = 36
OLD = Pace(age=timedelta(hours=8), share=1.0, everything=True)


async def fill(url: str) -> Seeder:
    """Write a fleet in trouble, and a day and a half; what is older than 8 hours is compacted."""
    seeder = seed_fleet.fleet(url, datetime.now(UTC), per_minute=0.15)
    with psycopg.connect(url, autocommit=True) as connection:
        seeder.connection = connection
        seeder.partitions(HOURS)
        for hour in range(2, HOURS):
            at = seeder.now - timedelta(hours=hour)
            lines = [
                (stream, Line(at, 17 if worker.endswith("3") else 9, f"{worker} was here"))
                for (service, worker), stream in seeder.streams.items()
                if service == "etl"
            ]
            seeder.block("etl", lines, at)
    seeder.connection = CLOSED
    seed_alerts.alerts(url, seeder)
    seed_health.health(url, seeder)
    seed_audit.audit(url)
    await compact(url, OLD)
    return seeder


@contextmanager
def reader(url: str) -> Iterator[psycopg.Connection]:
    """A connection of a person's own login: a member of the read role that sees team 1."""
    name = f"outrider_person_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(f"create role {name} login in role {READ_ROLE}".encode())
        owner.execute("insert into team_roles values (%s, 1)", (name,))
        owner.execute("analyze")
        try:
            with psycopg.connect(make_conninfo(url, user=name), autocommit=True) as person:
                yield person
        finally:
            owner.execute(f"drop role {name}".encode())
