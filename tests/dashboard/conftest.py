"""A seeded fleet, and a client of the pages over it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from outrider_dashboard.app import build
from outrider_dashboard.cli import make_site
from outrider_dashboard.source import open_source
from tests.dashboard import seed, seed_alerts
from tests.dashboard.serving import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from outrider_dashboard.site import Site
    from tests.dashboard.seed import Seeder
    from tests.dashboard.serving import Served


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


@pytest.fixture
def fleet(database_url: str) -> Fleet:
    """The fleet in trouble, with few lines."""
    seeder = seed.fleet(database_url, datetime.now(UTC), per_minute=0.15)
    return Fleet(database_url, seeder, seed_alerts.alerts(database_url, seeder))


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
    """A dashboard over the seeded fleet on a real socket."""
    with serving(fleet.url) as found:
        yield found


@pytest.fixture(scope="session")
def chromium() -> str:
    """The system's Chromium; skips where there is none, unless OUTRIDER_REQUIRE_BROWSER is set."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    if os.environ.get("OUTRIDER_REQUIRE_BROWSER"):
        pytest.fail("OUTRIDER_REQUIRE_BROWSER is set and there is no Chromium")
    pytest.skip("there is no Chromium on this machine")
