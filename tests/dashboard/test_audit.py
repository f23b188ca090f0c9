"""The audit page: who did what, how far it is sealed, narrowed, page by page, and as CSV."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from outrider_collector.store.reading.audit import SealState
from outrider_dashboard.pages import audit
from tests.dashboard.seed_audit import ROWS

if TYPE_CHECKING:
    from tests.dashboard.conftest import Pages


async def test_rows_say_who_did_what_and_are_harmless(pages: Pages) -> None:
    """Newest first, before and after, why; hostile text is text; a record leads to its line."""
    text = await pages.text("/audit")

    assert text.index("order.filled") < text.index("alert.silenced") < text.index(">rules<")
    assert "&lt;b&gt;deploy&lt;/b&gt;" in text
    assert "\x1b" not in text
    assert 'href="/logs/line/1/0"' in text
    # The rows may be minutes old by now, as the tests' fleet is: then it says who is missing.
    assert "Nothing was sealed yet" in text or "no collector seals" in text


@pytest.mark.parametrize(
    ("query", "seen", "unseen"),
    [
        ("actor=anna", "rules", "silence 3"),
        ("action=alert.", "silence 3", "order.filled"),
        ("target=LIMITS", "limits", "silence 3"),
        ("acts=1", "silence 3", "order.filled"),
        ("actor=nobody&before=999999999999999999", "No row matches.", "config.changed"),
    ],
)
async def test_the_log_is_narrowed(pages: Pages, query: str, seen: str, unseen: str) -> None:
    """By who, by the beginning of the action, by a part of the target, to acts alone."""
    text = await pages.text(f"/audit?{query}")
    table = text[text.index('id="page"') :]
    assert seen in table
    assert unseen not in table


async def test_pages_and_the_download_hold_every_row_once(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Older rows follow a link; CSV has them all, no cell is a formula, and it is recorded."""
    monkeypatch.setattr(audit, "PAGE_ROWS", 3)
    monkeypatch.setattr(audit, "EXPORT_ROWS", 3)
    first = await pages.text("/audit")
    link = first[first.index("/audit?before=") :].partition('"')[0]
    assert "silence 3" in first
    assert ">rules<" not in first
    assert ">rules<" in await pages.text(link)

    answer = await pages.client.get("/audit/export.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["event"] for row in rows] == [row[0] for row in reversed(ROWS)]
    assert rows[0]["actor"] == f"'{ROWS[3][1]}"
    exports = [a for name, a in pages.records if name == "audit.exported"]
    assert [(a["rows"], a["outcome"]) for a in exports] == [(4, "success")]


async def test_rows_that_nobody_seals_are_told(pages: Pages) -> None:
    """Within a minute they are young; after five minutes no collector seals."""
    started = pages.site.now()
    pages.site.now = lambda: started + timedelta(minutes=10)
    assert "4 newer rows are not sealed: no collector seals" in await pages.text("/audit")


@pytest.mark.parametrize(
    ("unsealed", "said"),
    [
        (1, "Sealed by 1 seal; 1 newer row is sealed within a minute"),
        (2, "Sealed by 1 seal; 2 newer rows are sealed within a minute"),
    ],
)
async def test_what_waits_for_its_seal_is_counted(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, unsealed: int, said: str
) -> None:
    """A row or several: the sentence is one."""
    now = pages.site.now()

    async def seals() -> SealState:
        return SealState(1, "00" * 32, now, 9, unsealed, now)

    monkeypatch.setattr(pages.site.source, "audit_seals", seals)
    assert said in await pages.text("/audit")
