"""The status page, and what machines ask of the dashboard."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import psycopg
import pytest

from outrider.errors import Fault, Reason
from outrider_dashboard.app import build
from outrider_dashboard.kept import Kept
from outrider_dashboard.pages import status
from outrider_dashboard.pages.health_rows import rows
from tests.dashboard.test_health_rows import seen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.dashboard.conftest import Fleet, Pages

ELSEWHERE = {"host": "status.example.com"}
HOSTS = ("trade-01", "trade-02", "etl-01", "edge-fra-02")


@pytest.fixture
async def public(pages: Pages) -> AsyncIterator[httpx.AsyncClient]:
    """The dashboard with its status page switched on."""
    pages.site.status_page = True
    transport = httpx.ASGITransport(app=build(pages.site))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        yield client


async def test_there_is_no_status_page_unless_it_is_switched_on(pages: Pages) -> None:
    """Without the key there is no such address, under any host's name."""
    assert (await pages.client.get("/status")).status_code == 404
    assert (await pages.client.get("/status", headers=ELSEWHERE)).status_code == 421


async def test_the_status_page_tells_states_and_nothing_private(
    public: httpx.AsyncClient, fleet: Fleet
) -> None:
    """Components with state and share; no reason, no log line, no host, no channel."""
    answer = await public.get("/status", headers=ELSEWHERE)

    assert answer.status_code == 200
    for words in ("Kraken and shop are degraded", "settle.example.net",
                  "99.99 %", "As of "):  # fmt: skip
        assert words in answer.text, words
    assert not [host for host in HOSTS if host in answer.text]
    for private in ("no connection within", ">ops<", "oncall-mail", "cancel", "<script", "arb-bin"):
        assert private not in answer.text, private
    assert answer.headers["cache-control"] == "public, max-age=10"
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")


async def test_everything_else_stays_for_this_machine(public: httpx.AsyncClient) -> None:
    """A host's name from outside reaches the status page and its style sheets alone."""
    for path in ("/", "/health", "/logs", "/metrics", "/statuses", "/status/", "/static"):
        assert (await public.get(path, headers=ELSEWHERE)).status_code == 421, path
    assert (await public.get("/static/health.css", headers=ELSEWHERE)).status_code == 200


async def test_hosts_are_named_where_the_configuration_says_so(
    public: httpx.AsyncClient, pages: Pages
) -> None:
    """The JSON has the same rows as the page, with hosts only when asked for."""
    pages.site.status_hosts = True

    found = (await public.get("/status.json")).json()

    groups = {one["title"]: one["components"] for one in found["groups"]}
    states = {one["name"]: one["state"] for one in groups["Hosts"]}
    assert (len(states), states["edge-fra-02"], states["etl-01"]) == (15, "silent", "up")
    (kraken,) = [one for one in groups["Exchanges"] if one["name"] == "Kraken"]
    assert kraken["state"] == "degraded"
    assert 0.99 < kraken["share_up_90_days"] < 1


async def test_a_crowd_costs_one_look(
    public: httpx.AsyncClient, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred who ask at once share one answer."""
    looks = 0
    components = pages.site.source.components

    async def counted() -> Any:
        nonlocal looks
        looks += 1
        return await components()

    monkeypatch.setattr(pages.site.source, "components", counted)
    answers = await asyncio.gather(*(public.get("/status") for _ in range(100)))

    assert {answer.status_code for answer in answers} == {200}
    assert looks == 1


async def test_what_was_known_last_stays_while_the_store_is_away(
    public: httpx.AsyncClient, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that it does not know, since when, and answers 503 to machines."""
    await public.get("/status")
    pages.site.status = Kept(10.0)

    async def away() -> Any:
        raise Fault(Reason.STORE_DOWN)

    monkeypatch.setattr(pages.site.source, "components", away)
    page, document = await public.get("/status"), await public.get("/status.json")

    assert (page.status_code, document.status_code) == (503, 503)
    assert "is not known now" in page.text
    assert "Kraken" in page.text
    assert document.json()["known"] is False


async def test_incidents_are_critical_alerts_of_what_is_shown(
    public: httpx.AsyncClient, fleet: Fleet
) -> None:
    """One line for each rule and component, without the alert's words."""
    with psycopg.connect(fleet.url, autocommit=True) as connection:
        connection.execute(
            "update alerts set priority = 'critical', state = 'firing', rule = 'probe-down', "
            'labels = \'{"component": "shop@trade-02"}\' where id in (1, 2)'
        )

    found = (await public.get("/status.json")).json()["incidents"]

    assert [(one["rule"], one["component"]) for one in found] == [("probe-down", "shop")]
    assert "Incidents" in (await public.get("/status")).text


def test_an_incident_needs_a_component_that_is_shown() -> None:
    """Alerts about workers and about what is not on the page are nobody's business."""
    shown = rows([seen("web-1", "down")], {})

    assert status.incidents([], shown) == []
    assert status.build(
        datetime(2026, 7, 14, tzinfo=UTC), [], {}, None, [], [], hosts=True
    ).groups == []  # fmt: skip


async def test_a_value_is_kept_and_a_failure_is_not() -> None:
    """Within its time the value stays; what failed is tried again by the next who asks."""
    now_s = 0.0
    kept: Kept[int] = Kept(10.0, lambda: now_s)
    made: list[int] = []

    async def make() -> int:
        made.append(1)
        if len(made) == 1:
            raise Fault(Reason.STORE_DOWN)
        return len(made)

    with pytest.raises(Fault):
        await kept.get(make)
    assert [await kept.get(make) for _ in range(3)] == [2, 2, 2]
    now_s = 10.0
    assert await kept.get(make) == 3


async def test_machines_are_answered(pages: Pages, fleet: Fleet) -> None:
    """Alive, ready while the schema is this version's, and figures without names."""
    await pages.text("/")
    assert await pages.text("/healthz") == "ok\n"
    assert await pages.text("/readyz") == "ready\n"
    figures = await pages.client.get("/metrics")
    assert figures.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "outrider_dashboard_ready 1\n" in figures.text
    assert 'outrider_dashboard_responses_total{status="200"} ' in figures.text
    assert 'outrider_dashboard_connections{state="free"} ' in figures.text

    with psycopg.connect(fleet.url, autocommit=True) as connection:
        connection.execute("insert into schema_migrations values (9999, 'later', '', now(), 9999)")
    pages.site.readiness = Kept(3.0)
    assert "upgrade Outrider" in await pages.text("/readyz", 503)
    assert await pages.text("/healthz") == "ok\n"
    assert "outrider_dashboard_ready 0\n" in (await pages.client.get("/metrics")).text
