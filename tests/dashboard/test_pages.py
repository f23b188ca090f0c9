"""The pages over a real database."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from outrider.errors import Fault
from outrider_dashboard.rendering import NAVIGATION
from tests.dashboard.seed import Line

if TYPE_CHECKING:
    from tests.dashboard.conftest import Fleet, Pages

WORKER = "/workers/trading/arb-binance-07@trade-03"
_LINE = re.compile(r'data-line="(\d+)/(\d+)"')


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/logs",
        "/workers",
        WORKER,
        "/health",
        "/alerts",
        "/kit",
        "/logs?q=severity%3E%3Derror",
    ],
)
async def test_every_page_comes(pages: Pages, path: str) -> None:
    """Every page renders whole over a fleet in trouble, with one h1 and the strict headers."""
    answer = await pages.client.get(path)

    assert answer.status_code == 200
    assert answer.text.count("<h1") == 1
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert [r for r in pages.records if r[0] == "ui.error_shown"] == []


@pytest.mark.parametrize("path", ["/", "/logs", "/workers", "/health", "/alerts", "/audit", "/kit"])
async def test_every_page_comes_when_nothing_has_happened(empty_pages: Pages, path: str) -> None:
    """The first visit finds pages that say what is missing, never an error."""
    text = await empty_pages.text(path)

    assert "could not be" not in text or path == "/kit"
    assert [r for r in empty_pages.records if r[0] == "ui.error_shown"] == []


async def test_navigation_leads_only_to_pages_that_exist(pages: Pages) -> None:
    """Every link of the navigation answers."""
    for item in NAVIGATION:
        await pages.text(item.href)


async def test_the_overview_says_what_is_wrong(pages: Pages) -> None:
    """The headline counts things, a cause explains its workers, and healthy ones are quiet."""
    text = await pages.text("/")

    assert "Eight things are wrong now" in text
    assert "8 of 60 workers are affected." in text
    assert "is dead: killed by SIGKILL, out of memory" in text
    assert "Host edge-fra-02</b> is silent" in text
    assert "Explains 2 workers: scrape-news-11 and scrape-news-12." in text
    assert "4 workers of trading</b> are degraded" in text
    assert "is 2.1 MB behind and has lost 37 lines" in text
    assert "gap #1, 37 lines" in text


async def test_the_worker_page_tells_how_it_ended(pages: Pages) -> None:
    """A dead worker's page says by what, whether anything is lost, and its last words."""
    text = await pages.text(WORKER)

    assert "Killed by SIGKILL at " in text
    assert "It used 2.00 GiB of 2.00 GiB allowed." in text
    assert "18,402,118 of 18,402,118 bytes are committed." in text
    assert "depth resync failed for BTCUSDT, try 4 of 5" in text
    assert "sev-DEAD" in text


async def test_what_does_not_exist_is_said(pages: Pages) -> None:
    """Unknown workers, lines, gaps, episodes and addresses are answered with 404 and a sentence."""
    for path in ("/workers/s/w@h", "/logs/line/1/1", "/logs/gap/99", "/alerts/99", "/nowhere"):
        text = await pages.text(path, 404)
        assert "There is no such thing" in text
        main = text.partition("<main")[2]
        assert all(f'href="{way}"' in main for way in ("/", "/logs", "/workers", "/alerts"))


async def test_an_episode_is_told_whole(pages: Pages, fleet: Fleet) -> None:
    """An episode shows its states, each notification with its fate and why, and its evidence."""
    text = html.unescape(await pages.text(f"/alerts/{fleet.alerts['exchange-5xx']}"))

    for words in (
        "The exchange answers with 503: 14 errors in 5 min", "Acknowledged by oncall",
        "Lines in 5 min", "fires 8", "ends 3", "sent, 2nd try", "421 4.7.0 try again later",
        "By silence 31, until 15:00.", "Somebody acknowledged it.", "superseded", "waiting",
        "Exactly once, committed with the transition.", "In-app, everyone",
        "AddOrder answered 503 after 2714 ms", "Above 8 again. Same episode.",
        "outrider silences add 'rule:exchange-5xx service:trading' --for 2h",
    ):  # fmt: skip
        assert words in text, words


async def test_paging_shows_every_line_once(pages: Pages, fleet: Fleet) -> None:
    """Following "Older lines" to the end shows every line of the range once, newest first."""
    with psycopg.connect(fleet.url) as connection:
        row = connection.execute("select sum(n) from blocks_fresh").fetchone()
    assert row is not None
    seen: list[tuple[str, str]] = []
    path: str | None = "/logs?range=24h"
    pages_read = 0
    while path:
        text = await pages.text(path)
        seen += _LINE.findall(text)
        pages_read += 1
        older = re.search(r'href="([^"]+)" hx-get="([^"]+)"[^>]*data-older', text)
        path = html.unescape(older[2]) if older else None

    assert pages_read > 3
    assert len(seen) == len(set(seen)) == row[0]


async def test_the_page_counts_what_it_shows(pages: Pages, fleet: Fleet) -> None:
    """Count and facets are about the filter; facets of a chosen field list the others too."""
    with psycopg.connect(fleet.url) as connection:
        row = connection.execute(
            "select count(*) from logs where service = 'etl' and severity >= 13"
        ).fetchone()
    assert row is not None

    text = await pages.text("/logs?q=service:etl+severity%3E%3Dwarn&range=24h")

    assert f'<span class="n">{row[0]} lines</span>' in text
    assert re.search(r'aria-checked="true" href="[^"]*" title="etl"', text)
    assert re.search(r'class="value outside" [^>]*title="trading"', text)
    assert re.search(r'aria-checked="true" href="[^"]*" title="ERROR"', text)


async def test_a_gap_is_a_row_at_its_place(pages: Pages) -> None:
    """A loss stands among the lines, violet, at the time it happened, and its link leads there."""
    answer = await pages.client.get("/logs/gap/1")
    text = await pages.text(answer.headers["location"])

    assert answer.status_code == 303
    assert "Gap #1: 37 lines, 4.1 kB, lost: the file was truncated before it was read." in text


async def test_a_mistake_in_the_filter_is_pointed_at(pages: Pages) -> None:
    """A wrong filter is answered with the column and a link to its repair; nothing is searched."""
    text = await pages.text("/logs?q=service:trading+severity%3D%3Eerror")

    assert "Column 25:" in text
    assert "severity%3E%3Derror" in text
    assert "k-error" in text
    assert not _LINE.search(text)


@pytest.mark.parametrize("query", ["range=9y", "from=x", "from=2026-01-01&to=2025-01-01"])
async def test_a_mistake_in_the_time_is_said(pages: Pages, query: str) -> None:
    """A wrong time is a sentence on the page."""
    assert 'class="mistake" role="alert"' in await pages.text(f"/logs?{query}")


async def test_a_wrong_position_is_refused(pages: Pages) -> None:
    """A page's position that nobody handed out is answered with a sentence, not a crash."""
    assert "no position of a page" in await pages.text("/logs?after=abc", 400)


async def test_no_match_says_whether_one_is_missing(pages: Pages) -> None:
    """An empty answer says whether absence is a fact and what would match."""
    whole = await pages.text("/logs?q=service:scrapers+worker:scrape-social-1+nonsense")
    behind = await pages.text("/logs?q=service:etl+nonsense")

    assert "No line matches, and none is missing" in whole
    assert 'Without <code class="chip">nonsense</code>' in whole
    assert "No line matches so far" in behind


async def _exported(pages: Pages, form: str, query: str) -> str:
    answer = await pages.client.get(f"/logs/export.{form}?{query}")
    assert answer.status_code == 200
    assert "attachment" in answer.headers["content-disposition"]
    return answer.text


async def test_an_export_equals_the_search(pages: Pages) -> None:
    """A download holds exactly the lines of the search, in its order, and ends with its count."""
    query = "q=worker:mm-kraken-01+severity%3E%3Derror&range=24h"
    shown = _LINE.findall(await pages.text(f"/logs?{query}"))

    lines = [json.loads(one) for one in (await _exported(pages, "jsonl", query)).splitlines()]
    table = list(csv.DictReader(io.StringIO(await _exported(pages, "csv", query))))

    end = lines.pop()
    assert 0 < len(shown) < 100
    assert [(str(r["stream"]), str(r["stream_offset"])) for r in lines] == shown
    assert [(r["stream"], r["stream_offset"]) for r in table] == shown
    assert end == {"end_of_export": {"lines": len(shown), "gaps": []}}
    exports = [a for name, a in pages.records if name == "audit.exported"]
    assert [(e["lines"], e["outcome"]) for e in exports] == [(len(shown), "success")] * 2
    assert "mm-kraken-01" not in str(exports)  # the log is sealed, and a filter may quote secrets


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b]0;owned\x07\x1b[2J",
    "=cmd|' /C calc'!A0",
    "abc\u202edcba",
    "\x9b31m\x85\u2066x",
    "{{ 7 * 7 }}${7*7}",
)


def _hostile(fleet: Fleet) -> None:
    at = fleet.now - timedelta(seconds=1)
    stream = fleet.seeder.streams["etl", "etl-fx-1"]
    lines = [(stream, Line(at, 17, text, None, text[:60], {text: text}, text)) for text in HOSTILE]
    with psycopg.connect(fleet.url, autocommit=True) as connection:
        fleet.seeder.connection = connection
        fleet.seeder.block("etl", lines, fleet.now)


async def test_hostile_text_is_text(pages: Pages, fleet: Fleet) -> None:
    """Markup, controls, overrides and templates in a log line are shown and never interpreted."""
    _hostile(fleet)

    text = await pages.text("/logs?q=worker:etl-fx-1+severity%3E%3Derror")
    first = _LINE.search(text)
    assert first is not None
    detail = await pages.text(f"/logs/line/{first[1]}/{first[2]}")

    for page in (text, detail):
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "\x1b" not in page and "\x07" not in page
        assert not re.search("[\x80-\x9f\u202a-\u202e\u2066-\u2069]", page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "␛]0;owned␇" in text
    assert "abc&lt;U+202E&gt;dcba" in text
    assert "{{ 7 * 7 }}" in text


async def test_spreadsheets_run_no_formula(pages: Pages, fleet: Fleet) -> None:
    """No cell of a CSV begins with what a spreadsheet would run; JSON Lines stay exact."""
    _hostile(fleet)
    query = "q=worker:etl-fx-1+severity%3E%3Derror"

    table = csv.reader(io.StringIO(await _exported(pages, "csv", query)))
    lines = await _exported(pages, "jsonl", query)

    assert all(cell[:1] not in "=+-@\t\r" or not cell for row in list(table)[1:] for cell in row)
    messages = [json.loads(one).get("message") for one in lines.splitlines()]
    assert HOSTILE[3] in messages


async def test_one_broken_panel_breaks_one_panel(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake behind one panel is an error in its place; the rest of the page comes."""

    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(pages.site.source, "store", broken)
    text = await pages.text("/")

    assert "Store could not be read" in text
    assert "INTERNAL_BUG" in text
    assert "Trying again will not help" in text
    assert "Eight things are wrong now" in text
    (record,) = [a for name, a in pages.records if name == "ui.error_shown"]
    assert str(record["correlation_id"]) in text
    assert "boom" not in text
    assert "boom" in str(record["cause"])


async def test_a_dead_database_leaves_pages(pages: Pages, fleet: Fleet) -> None:
    """Without the database pages come with the last good data and its age, or say it is unknown."""
    await pages.text("/")
    name = psycopg.conninfo.conninfo_to_dict(fleet.url)["dbname"]
    gate = psycopg.sql.SQL("alter database {} allow_connections {}")
    with psycopg.connect(fleet.url, autocommit=True, dbname="postgres") as connection:
        database = psycopg.sql.Identifier(str(name))
        connection.execute(gate.format(database, psycopg.sql.SQL("false")))
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,)
        )
        seen = await pages.text("/")
        unseen = await pages.text("/logs")
        connection.execute(gate.format(database, psycopg.sql.SQL("true")))

    assert "What is wrong now is not known" in seen
    assert "Last good data, " in seen
    assert "is dead: killed by SIGKILL, out of memory" in seen
    assert "STORE_DOWN" in seen
    assert "is-stale" in seen
    assert "Lines could not be read" in unseen
    assert "Completeness is not known" in unseen


async def test_the_pages_cannot_write(pages: Pages) -> None:
    """The pages' connections may read and nothing else: the database refuses."""
    with pytest.raises(Fault, match=r"read-only|refused"):
        async with pages.site.source._connection() as connection:
            await connection.execute("delete from alerts")


@pytest.mark.parametrize("host", ["example.com", "127.0.0.1.example.com:4580", ""])
async def test_foreign_names_are_refused(pages: Pages, host: str) -> None:
    """A name that somebody pointed at this machine gets nothing."""
    answer = await pages.client.get("/", headers={"host": host})

    assert answer.status_code == 421
    assert "Outrider" not in answer.text


async def test_only_reading_is_answered(pages: Pages) -> None:
    """Whatever is not GET or HEAD is refused."""
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        answer = await pages.client.request(method, "/logs")
        assert answer.status_code == 405


async def test_choices_are_kept(pages: Pages) -> None:
    """Zone and theme are kept in cookies and shape every page; only this site is gone back to."""
    there = await pages.client.get("/display?theme=light&zone=Asia/Tokyo&back=/workers")
    away = await pages.client.get("/display?theme=dark&back=//example.com/")
    text = await pages.text("/logs")

    assert there.headers["location"] == "/workers"
    assert away.headers["location"] == "/"
    assert 'data-theme="dark"' in text
    assert "Time, JST" in text


async def test_names_with_every_character_have_pages(pages: Pages, fleet: Fleet) -> None:
    """A worker whose name holds slashes, percent signs or markup still has a page of its own."""
    service, name = "a/b%2F <i>", "w/%?#&@x"
    with psycopg.connect(fleet.url, autocommit=True) as connection:
        fleet.seeder.connection = connection
        fleet.seeder.worker(service, name, "h", 1)

    text = await pages.text("/workers")
    href = next(h for h in re.findall(r'href="(/workers/a[^"]+)"', text))

    assert "&lt;i&gt;" in text
    assert "w/%?#&amp;@x" in await pages.text(html.unescape(href))


async def test_the_form_leads_to_a_link(pages: Pages) -> None:
    """Exact times typed into the form become an address that can be shared."""
    answer = await pages.client.get(
        "/logs?q=a&range=1h&since=2026-07-14+13:00:00&until=2026-07-14+14:00:00&exact=1"
    )

    assert answer.status_code == 303
    assert answer.headers["location"] == (
        "/logs?q=a&from=2026-07-14T13%3A00%3A00Z&to=2026-07-14T14%3A00%3A00Z"
    )


async def test_times_in_the_address_are_taken_or_refused(pages: Pages) -> None:
    """Typed by hand they count without the form's word for it; what is no time is said."""
    for asked in ("since=banana", "until=banana", "since=banana&until=now&q=a"):
        text = await pages.text(f"/logs?{asked}")
        assert "&#39;banana&#39; is not a time" in text
    answer = await pages.client.get("/logs?since=2026-07-14T13:00:00Z&until=2026-07-14T14:00:00Z")
    assert answer.headers["location"] == (
        "/logs?from=2026-07-14T13%3A00%3A00Z&to=2026-07-14T14%3A00%3A00Z"
    )
    # The form's fields show the range; sent with the filter alone, they do not fix it.
    answer = await pages.client.get("/logs?form=1&q=a&since=2026-07-14+13:00:00&until=now")
    assert answer.headers["location"] == "/logs?q=a"


async def test_a_page_that_is_not_there_leads_to_all_that_are(pages: Pages) -> None:
    """Every page of the navigation is among the ways to go on."""
    text = await pages.text("/nowhere", 404)
    _, _, on = text.partition("Go on")
    for page in NAVIGATION:
        assert f'href="{page.href}">{page.name}</a>' in on


_ENDLESS = "9" * 5_000


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/alerts/{_ENDLESS}", 404),
        (f"/alerts/{2**63 - 1}", 404),
        (f"/logs/gap/{2**63 - 1}", 404),
        (f"/logs/line/{2**63 - 1}/{2**63 - 1}", 404),
        (f"/logs/line/{2**63}/1", 404),
        (f"/logs/line/1/{2**63}", 404),
        (f"/logs/gap/{_ENDLESS}", 404),
        (f"/logs/line/1/{_ENDLESS}", 404),
        (f"/logs/line/{_ENDLESS}/1", 404),
        ("/workers/a/b%00c@d", 404),
        (f"/logs/rows?after={_ENDLESS}", 400),
        ("/logs?after=x", 400),
        (f"/logs?first={_ENDLESS}&from={_ENDLESS}", 200),
        (f"/logs/rows?first={_ENDLESS}&read={_ENDLESS}&of={_ENDLESS}", 200),
        (f"/logs/complete?q=a&at={_ENDLESS}", 200),
        (f"/logs/cost?from={_ENDLESS}&selected={_ENDLESS}", 200),
    ],
)
async def test_no_number_of_an_address_breaks_a_page(pages: Pages, path: str, status: int) -> None:
    """What no number of the store can be is a page that says so, never a mistake of ours."""
    answer = await pages.client.get(path)

    assert answer.status_code == status
    assert "INTERNAL_BUG" not in answer.text
