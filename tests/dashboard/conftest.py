"""A seeded fleet, and a client of the pages over it."""

from __future__ import annotations

import copy
import os
import shutil
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest
from psycopg import sql

from outrider_dashboard.app import build
from outrider_dashboard.cli import make_site
from outrider_dashboard.pages import logs
from outrider_dashboard.source import open_source
from tests.dashboard import seed_alerts, seed_audit, seed_fleet, seed_health
from tests.dashboard.serving import serving
from tests.lacking import lacks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from outrider_dashboard.site import Site
    from tests.dashboard.seed import Seeder
    from tests.dashboard.serving import Served


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine pages wait for their whole answer; tests of slow searches say otherwise."""
    monkeypatch.setattr(logs, "PATIENCE_S", 60.0)


@dataclass
class Fleet:
    """A seeded database."""

    url: str
    seeder: Seeder
    alerts: dict[str, int]

    @property
    def now(self) -> datetime:
        """The moment that everything was told relative to."""
        return self.seeder.now


@pytest.fixture(scope="session")
def _seeded(postgres_url: str, _template: str) -> Iterator[Fleet]:
    """The fleet in a database of its own, which the tests' databases are copied from."""
    name = f"outrider_fleet_{os.getpid()}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(_copy(name, _template))
        url = psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
        seeder = seed_fleet.fleet(url, datetime.now(UTC), per_minute=0.15)
        alerts = seed_alerts.alerts(url, seeder)
        seed_health.health(url, seeder)
        seed_audit.audit(url)
        yield Fleet(url, seeder, alerts)
        connection.execute(_drop(name))


@pytest.fixture
def fleet(postgres_url: str, _seeded: Fleet) -> Iterator[Fleet]:
    """The fleet in trouble, with few lines, in a database that a test may change."""
    name = f"outrider_test_{uuid.uuid4().hex[:12]}"
    template = psycopg.conninfo.conninfo_to_dict(_seeded.url)["dbname"]
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(_copy(name, str(template)))
        url = psycopg.conninfo.make_conninfo(postgres_url, dbname=name)
        with psycopg.connect(url) as copied:
            # Its collector has reported until now, however long the tests before took.
            copied.execute("update collectors set seen_at = clock_timestamp()")
        yield Fleet(url, copy.deepcopy(_seeded.seeder), _seeded.alerts)
        connection.execute(_drop(name))


def _copy(name: str, template: str) -> sql.Composed:
    return sql.SQL("create database {} template {} strategy file_copy").format(
        sql.Identifier(name), sql.Identifier(template)
    )


def _drop(name: str) -> sql.Composed:
    return sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))


@dataclass
class Pages:
    """The pages in process: a client, the site, and what the dashboard wrote about itself."""

    client: httpx.AsyncClient
    site: Site
    records: list[tuple[str, dict[str, object]]]

    async def text(self, path: str, status: int = 200) -> str:
        """Ask for a page and return its text."""
        answer = await self.client.get(path)
        assert answer.status_code == status, answer.text[:2000]
        return answer.text


@pytest.fixture
async def pages(fleet: Fleet) -> AsyncIterator[Pages]:
    """The pages over the seeded fleet."""
    async for found in _pages(fleet.url):
        yield found


@pytest.fixture
async def empty_pages(database_url: str) -> AsyncIterator[Pages]:
    """The pages over a database where nothing has happened yet."""
    async for found in _pages(database_url):
        yield found


async def _pages(url: str) -> AsyncIterator[Pages]:
    records: list[tuple[str, dict[str, object]]] = []
    async with open_source(url) as source:
        site = make_site(source, "test", lambda name, a: records.append((name, a)))
        transport = httpx.ASGITransport(app=build(site))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Pages(client, site, records)


@pytest.fixture
def served(fleet: Fleet) -> Iterator[Served]:
    """A dashboard over the seeded fleet on a real socket, with its status page."""

    def with_status_page(site: Site) -> None:
        site.status_page = True

    with serving(fleet.url, change=with_status_page) as found:
        yield found


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        lacks("browser", "there is no Chromium on this machine")
    return path
