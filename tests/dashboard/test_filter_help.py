"""Help while a filter is written and read: completions, underlined mistakes, columns, cost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.filter import parse
from outrider_collector.store.reading.types import FacetValue
from outrider_dashboard import columns, completion, filter_text, highlight
from outrider_dashboard.pages import logs
from tests.dashboard.seed_fleet import TRACE

if TYPE_CHECKING:
    from tests.dashboard.conftest import Fleet, Pages

CODES = [FacetValue("EXCHANGE_UNAVAILABLE", 268), FacetValue("EXCHANGE_RATE_LIMITED", 96)]


@pytest.mark.parametrize(
    ("text", "field", "typed", "rest"),
    [
        ("service:etl error_code:EXCH|", "error_code", "EXCH", "service:etl"),
        ("a -worker:x|y b", "worker", "x", "a b"),
        ("severity>=er|", "severity", "er", ""),
        ("service:(etl OR tra|) x", "service", "tra", "x"),
        ('event:"a b|" x', "event", "a b", "x"),
        ("serv|", "", "serv", ""),
        ("(ser|", "", "ser", "("),
    ],
)
def test_the_place_of_the_caret(text: str, field: str, typed: str, rest: str) -> None:
    """What is typed belongs to a field, and counts are of the filter without it."""
    caret = text.index("|")
    place = completion.place(text.replace("|", ""), caret)

    assert place is not None
    assert (place.field, place.typed, place.rest) == (field, typed, rest)


@pytest.mark.parametrize("text", ['"a phrase', "service:etl ^", "x:y=="])
def test_no_place(text: str) -> None:
    """Inside a phrase and behind nonsense nothing is offered."""
    assert completion.place(text, len(text)) is None


def test_completions_count() -> None:
    """Values come with their counts, and one more entry takes all that begin alike."""
    place = completion.place("error_code:exch", 15)
    assert place is not None
    found = completion.complete(place, CODES)

    assert [(one.match + one.text, one.note) for one in found] == [
        ("EXCHANGE_UNAVAILABLE", "268"),
        ("EXCHANGE_RATE_LIMITED", "96"),
        ("EXCH*", "364, any of 2"),
    ]


@given(st.text(max_size=30), st.integers(0, 30))
def test_any_text_has_a_place_or_none(text: str, caret: int) -> None:
    """Whatever is typed, the stretch to replace lies inside the text and holds the caret."""
    caret = min(caret, len(text))
    place = completion.place(text, caret)
    if place is not None:
        assert 0 <= place.start <= caret <= place.end <= len(text)


@given(st.text(min_size=1, max_size=12))
def test_a_taken_value_asks_for_that_value(value: str) -> None:
    """However hostile a value is, taking it gives a filter that reads as that value."""
    place = completion.place("worker:", 7)
    assert place is not None
    (found,) = completion.complete(place, [FacetValue(value, 1)])

    assert filter_text.selected(f"worker:{found.insert}", "worker") == [value]


def test_a_mistake_is_underlined() -> None:
    """Exactly the characters of a mistake are marked, and the text stays what it was."""
    for text, wrong in (("a severity=>error", "=>"), ("servce:x b", "servce"), ("(a b", None)):
        _, mistake = highlight.read(text)
        runs = highlight.runs(text, mistake)
        letters = [one for run in runs for one in run.letters]

        assert "".join(one.text for one in letters) == text
        marked = "".join(one.text for one in letters if one.kind == "error")
        assert marked == wrong if wrong else marked


def test_columns_of_the_address() -> None:
    """The address keeps the columns, in their order; nonsense is left out."""
    assert columns.read([]) == columns.DEFAULT
    assert columns.read(["none", "host", "service"]) == ("service", "host")
    assert columns.read(["<script>"]) == ()
    for chosen in (columns.DEFAULT, (), ("event",), tuple(columns.NAMES)):
        assert columns.read(columns.parameters(chosen).values()) == chosen


def test_a_milder_filter() -> None:
    """A severity that finds nothing is offered one step lower."""
    assert filter_text.milder("a severity>=error b") == ("a severity>=warn b", "severity>=warn")
    assert filter_text.milder("severity>=trace") is None
    parse("a severity>=warn b")


async def test_the_list_is_of_what_exists(pages: Pages) -> None:
    """The list names values of the range shown that fit the rest of the filter."""
    text = await pages.text("/logs/complete?q=service:etl+worker:&at=19")

    assert 'data-insert="etl-fx-1"' in text
    assert "arb-binance-07" not in text
    assert "Counts are for the hour shown." in text


async def test_rows_show_the_chosen_columns(pages: Pages) -> None:
    """Columns are chosen by a form whose answer is an address, and links keep them."""
    sent = await pages.client.get("/logs?chosen=1&columns=none&columns=event&columns=host")
    assert sent.headers["location"] == "/logs?columns=host%2Cevent"
    text = await pages.text("/logs?columns=host,event")

    assert re.findall('role="columnheader">([^<]+)<', text)[1:] == [
        "Severity", "Host", "Event", "Message",
    ]  # fmt: skip
    assert "with-2" in text
    assert "columns=host%2Cevent" in text.split('class="facets"')[1]


async def test_a_range_tells_what_it_costs(pages: Pages) -> None:
    """Lines and blocks are told before anything is read; a wrong time says so."""
    assert re.search(
        r"^1 day, about [\d,]+ lines, reads (\d+) of \1 blocks$",
        await pages.text("/logs/cost?range=24h"),
    )
    assert "is not a time" in await pages.text("/logs/cost?exact=1&since=x")


async def test_a_slow_search_goes_on(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that takes longer shows what it has, how far it read, and reads on to the end."""
    monkeypatch.setattr(logs, "PATIENCE_S", 0.0)
    monkeypatch.setattr(logs, "PAGE_ROWS", 1000)
    address = "/logs?q=severity%3E%3Derror&range=24h"
    text = await pages.text(address)
    found: list[str] = []
    for _ in range(100):
        found += re.findall(r'data-line="([\d/]+)"', text)
        further = re.search(r'data-reading hx-get="([^"]+)"', text)
        if further is None:
            break
        assert re.search(r"Reading, \d+ of \d+ blocks so far", text)
        text = await pages.text(further[1].replace("&amp;", "&"))

    monkeypatch.setattr(logs, "PATIENCE_S", 60.0)
    at_once = re.findall(r'data-line="([\d/]+)"', await pages.text(address))
    assert found == at_once
    assert len(set(found)) == len(found) > 10


async def test_a_slow_search_that_finds_nothing_says_so(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read to its end in parts without a line, a search leads to the page of what that means."""
    monkeypatch.setattr(logs, "PATIENCE_S", 0.0)
    text = await pages.text("/logs?q=event:order.filled+nowhere&range=24h")
    gaps = text.count("entry e-GAP")
    while further := re.search(r'data-reading hx-get="([^"]+)"', text):
        answer = await pages.client.get(further[1].replace("&amp;", "&"))
        text = answer.text
        gaps += text.count("entry e-GAP")

    assert gaps <= 1
    found = await pages.text(answer.headers["hx-redirect"])
    assert "No line matches" in found
    assert "data-reading" not in found


async def test_what_was_perhaps_meant_is_said_where_nothing_matches(pages: Pages) -> None:
    """Words that read like an operator or a field are named, with what would work."""
    text = await pages.text("/logs?q=nowhere+and+attrs.never&range=24h&patient=1")
    assert '<code class="chip">and</code> is a word here; <code class="chip">AND</code>' in text
    assert '<code class="chip">attrs.never:*</code> finds records that have it.' in text


async def test_a_trace_says_who_shares_it(pages: Pages, fleet: Fleet) -> None:
    """An open line of a trace counts the lines and workers that share it."""
    del fleet
    text = await pages.text(f"/logs?q=trace_id:{TRACE.hex}&range=24h")
    lines = re.findall(r'data-line="([\d/]+)"', text)
    opened = await pages.client.get(f"/logs/line/{lines[0]}", headers={"hx-request": "true"})

    assert f"<span>{len(lines)} line" in opened.text
    assert re.search(r"line\w?, \d workers?</span>", opened.text)
