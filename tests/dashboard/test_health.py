"""The health page over a real database."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import psycopg

from outrider.errors import Fault, Reason

if TYPE_CHECKING:
    import pytest

    from outrider_collector.store.reading.types import Uptime
    from tests.dashboard.conftest import Fleet, Pages


async def _text(pages: Pages, path: str = "/health") -> str:
    """The page as a person reads it, spaces joined."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", await pages.text(path))))


async def test_the_page_says_what_is_not_up_and_since_when(pages: Pages) -> None:
    """Headline, states with their reasons, shares and budgets, from rows of several hosts."""
    text = await _text(pages)

    for words in (
        "Kraken, oncall-mail and shop are degraded and one host is silent",
        "Coinbase is closed for announced maintenance until",
        "5, one degraded",
        "not reachable from trade-02: no connection within 5 s",
        "30-day budget, 99.9 %", "spent", "100.00 %", "11 more hosts, all up",
        "421 4.7.0 try again later", "settle.example.net certificate", "11 days, ",
    ):  # fmt: skip
        assert words in text, words
    assert re.search(r"Kraken degraded \d+ min", text)
    assert re.search(r"edge-fra-02 silent \d+ min", text)
    assert "pager" not in text


async def test_exchanges_now_are_told_with_mode_latency_and_skew(pages: Pages) -> None:
    """The p95 is that of the last minutes' samples; modes are words, with who decided."""
    text = await _text(pages)

    now = text.partition("Exchanges now")[2]
    assert "Probed from trade-01 and trade-02" in now
    for words in (
        "cancel only announced", "closed, maintenance announced", "\N{MINUS SIGN}61 ms", "+12 ms",
    ):  # fmt: skip
        assert words in now, words
    assert re.search(r"Kraken , degraded cancel only announced 2\.[6-9] s \N{MINUS SIGN}61 ms", now)
    assert "not sampled" not in now


async def test_the_overview_has_the_exchanges(pages: Pages) -> None:
    """Beside the lines: mode, latency and clock of each, with the end of a closing."""
    text = (await _text(pages, "/")).partition("Exchanges")[2]

    for words in ("Kraken , degraded cancel only", "Coinbase , maintenance closed to", "+38 ms"):
        assert words in text, words


async def test_every_host_is_there_when_asked_for(pages: Pages) -> None:
    """The link behind the hosts that are well leads to all of them."""
    text = await _text(pages, "/health?hosts=all")

    assert "more hosts" not in text
    assert all(f"edge-fra-0{n}" in text for n in range(1, 5))


async def test_without_probes_the_page_says_how_to_add_one(empty_pages: Pages) -> None:
    """The first visit finds what to write into which file."""
    text = await empty_pages.text("/health")

    assert "Nothing is looked at yet" in text
    assert "[[agent.probe]]" in text
    assert 'kind = "exchange"' in text


async def test_what_is_hostile_is_only_text(pages: Pages, fleet: Fleet) -> None:
    """Names, reasons and announcements come from outside and do nothing."""
    evil = '<script>alert(1)</script>"\N{RIGHT-TO-LEFT OVERRIDE}'
    with psycopg.connect(fleet.url, autocommit=True) as connection:
        connection.execute("alter table system_health disable row level security")
        connection.execute(
            "update system_health set component = %s || '@trade-01', reason = %s "
            "where component = 'Kraken@trade-01'",
            (evil, evil),
        )

    text = await pages.text("/health")

    assert "<script>alert" not in text
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in text
    assert "&lt;script&gt;alert(1)" in text


async def test_a_panel_fails_alone(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its ninety days the page still says how everything is now."""

    async def broken() -> dict[tuple[str, str], Uptime]:
        raise Fault(Reason.QUERY_TIMEOUT)

    monkeypatch.setattr(pages.site.source, "uptimes", broken)
    text = await _text(pages)

    assert "Ninety days could not be read" in text
    assert "Kraken, oncall-mail and shop are degraded" in text
    assert re.search(r"Kraken degraded \d+ min", text)
