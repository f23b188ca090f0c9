"""Logs: filter, histogram with a selection, facets, completeness, rows newest first."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from starlette.responses import RedirectResponse, Response

from outrider.errors import Fault
from outrider.filter import parse
from outrider_collector.store.reading import completeness
from outrider_dashboard import columns, facets, filter_text, highlight, ranges, sentences
from outrider_dashboard.charts.scale import Tick, TimeScale
from outrider_dashboard.charts.waterline import Counts, Waterline, bar_chart
from outrider_dashboard.pages.log_nearby import last_match, would_match
from outrider_dashboard.pages.question import Question, asked_range, question
from outrider_dashboard.site import Visit, together
from outrider_dashboard.source import ALL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from starlette.requests import Request

    from outrider.filter import Filter
    from outrider_collector.store.reading.types import Bucket, Facets, Gap, LogRow, Page
    from outrider_dashboard.panels import Panel

PAGE_ROWS = 100
PATIENCE_S = 0.3
"""After this, a page shows what was found so far and goes on reading."""

BARS = 120
NARROW_BARS = 60


@dataclass(frozen=True)
class Histogram:
    """The histogram with its axis, its selection and what is not known."""

    broad: Waterline
    narrow: Waterline
    ticks: tuple[Tick, ...]
    few_ticks: tuple[Tick, ...]
    hatch_from: float | None
    selected: tuple[float, float] | None
    """Left and right edge in percent."""
    lines: int
    lines_selected: int
    buckets: list[Bucket]


@dataclass(frozen=True)
class Reading:
    """How far a search that goes on has read: blocks opened, of how many (0: not known)."""

    read: int
    of: int

    @property
    def percent(self) -> float:
        """The share that was read."""
        return round(min(100.0, 100 * self.read / self.of), 1) if self.of else 0.0


@dataclass(frozen=True)
class Entry:
    """A row of the table: a line, or a gap at its place in time."""

    at: datetime
    row: LogRow | None = None
    gap: Gap | None = None


async def page(request: Request) -> Response:
    """Render the log page."""
    visit = await Visit.begin(request)
    problem = ""
    try:
        asked = question(visit)
    except ranges.RangeError as error:
        problem = str(error)
        found, mistake = highlight.read(visit.parameter("q"))
        asked = Question(visit.parameter("q"), ranges.read(visit.clock.now), found, mistake)
    except Fault as fault:
        return visit.problem(fault, "Logs")
    if request.query_params.keys() & {"since", "chosen"} and not problem:
        # The form was sent: lead to the address that links have, so that it can be shared.
        return RedirectResponse(asked.link(), status_code=303)
    alerts = await visit.open_alerts()
    context: dict[str, Any] = {
        "asked": asked,
        "runs": highlight.runs(asked.text, asked.mistake),
        "columns": asked.columns,
        "all_columns": columns.NAMES,
        "problem": problem,
        "ranges": ranges,
        "constrained": len(facets.constrained(asked.text)),
        "answer": None,
    }
    if asked.filter is not None and not problem:
        context["answer"] = await _answer(visit, asked)
        context["stale"] = not alerts.fresh or context["answer"].rows.stale
    return visit.page("logs.html", "Logs", alerts, **context)


async def rows(request: Request) -> Response:
    """Render the next page of rows alone."""
    visit = Visit(request)
    try:
        asked = question(visit)
    except ranges.RangeError as error:
        return visit.part("log_rows_error.html", text=str(error))
    if asked.filter is None:
        return visit.part("log_rows_error.html", text="The filter cannot be read.")
    panel, gaps = await together(_search(visit, asked), _gaps(visit, asked))
    first = _number(visit, "first", 1)
    if first == 1 and panel.fresh and not panel.value.rows and not panel.value.partial:
        # Read to the end and found nothing: the page says what that means, without haste.
        patient = asked.link() + ("&" if "?" in asked.link() else "?") + "patient=1"
        return Response(status_code=204, headers={"hx-redirect": patient})
    reading = Reading(
        _number(visit, "read", 0) + (panel.value.blocks_read if panel.value else 0),
        _number(visit, "of", 0),
    )
    return visit.part(
        "log_rows.html",
        asked=asked,
        panel=panel,
        entries=_entries(panel, gaps, asked),
        first=first,
        total=None,
        columns=asked.columns,
        reading=reading,
    )


def _number(visit: Visit, name: str, default: int) -> int:
    """Read a small number of the URL; what is none is ``default``."""
    text = visit.parameter(name, 12)
    return int(text) if text.isascii() and text.isdigit() else default


async def cost(request: Request) -> Response:
    """Answer with what a range would cost, before it is read."""
    visit = Visit(request)
    try:
        within = asked_range(visit)
        found, _ = highlight.read(" ".join(visit.parameter("q").split()))
    except ranges.RangeError as error:
        return visit.part("log_cost.html", problem=str(error), panel=None, within=None)
    panel = await visit.panel(
        "Cost", lambda: visit.site.source.cost(found or ALL, within.since, within.until)
    )
    return visit.part("log_cost.html", problem="", panel=panel, within=within)


@dataclass(frozen=True)
class Answer:
    """The panels of the page."""

    histogram: Panel[Histogram]
    rows: Panel[Page]
    entries: list[Entry]
    completeness: Panel[list[sentences.Piece]]
    facets: Panel[list[facets.Facet]]
    feed_number: int | None
    would_match: list[tuple[str, str, str, int]]
    """Words, a term of the filter, a link, and the count of what is a click away."""
    whole: bool
    whole_up_to: datetime | None
    reading: Reading
    last: LogRow | None
    """The newest line that matched before the range, where nothing matches in it."""


async def _answer(visit: Visit, asked: Question) -> Answer:
    histogram, found, gaps, complete, values = await together(
        _histogram(visit, asked),
        _search(visit, asked),
        _gaps(visit, asked),
        _completeness(visit, asked),
        _facets(visit, asked),
    )
    nearby, last = [], None
    reading = Reading(0, 0)
    if found.fresh and found.value.partial:
        whole = await visit.panel(
            "Cost", lambda: visit.site.source.cost(_filter(asked), *asked.range.shown)
        )
        reading = Reading(found.value.blocks_read, whole.value.blocks if whole.value else 0)
    elif found.fresh and not found.value.rows and not asked.after:
        nearby, last = await together(
            would_match(visit, asked, _filter(asked)),
            last_match(visit, asked, _filter(asked), PATIENCE_S),
        )
    pieces = None
    if complete.value is not None:
        pieces = sentences.completeness_pieces(
            completeness.sentence(complete.value, visit.clock.now)
        )
    return Answer(
        histogram=histogram,
        rows=found,
        entries=_entries(found, gaps, asked),
        completeness=replace(complete, value=pieces),
        facets=values,
        feed_number=visit.feed_number,
        would_match=nearby,
        whole_up_to=complete.value.complete_up_to if complete.value is not None else None,
        whole=bool(complete.value is not None and complete.fresh and complete.value.whole),
        reading=reading,
        last=last,
    )


async def _search(visit: Visit, asked: Question) -> Panel[Page]:
    since, until = asked.range.shown
    patience_s = math.inf if visit.parameter("patient", 1) else PATIENCE_S
    return await visit.panel(
        "Lines",
        lambda: visit.site.source.search(
            _filter(asked), since, until,
            limit=PAGE_ROWS, after=asked.after, patience_s=patience_s,
        ),
        asked.text, asked.range.length or (since, until), asked.after,
    )  # fmt: skip


async def _gaps(visit: Visit, asked: Question) -> Panel[list[Gap]]:
    since, until = asked.range.shown
    return await visit.panel(
        "Gaps",
        lambda: visit.site.source.gaps(_filter(asked), since, until),
        asked.text, asked.range.length or (since, until),
    )  # fmt: skip


async def _completeness(visit: Visit, asked: Question) -> Panel[Any]:
    since, until = asked.range.shown
    return await visit.panel(
        "Completeness",
        lambda: visit.site.source.completeness(_filter(asked), since, until),
        asked.text, asked.range.length or (since, until),
    )  # fmt: skip


async def _histogram(visit: Visit, asked: Question) -> Panel[Histogram]:
    within = asked.range

    async def read() -> Histogram:
        buckets = await visit.site.source.histogram(
            _filter(asked), within.since, within.until, BARS
        )
        drawn = histogram(buckets, within, visit)
        if within.selection is None:
            return drawn
        # Buckets move with the clock and the selection does not, so it is counted by itself.
        selected = await visit.site.source.count(_filter(asked), *within.selection)
        return replace(drawn, lines_selected=selected)

    key = within.length or (within.since, within.until)
    return await visit.panel("Histogram", read, asked.text, key, within.selection)


def histogram(buckets: Sequence[Bucket], within: ranges.Range, visit: Visit) -> Histogram:
    """Draw the buckets."""
    counts = [Counts(b.debug + b.info, 0, b.warn, b.error) for b in buckets]
    scale = TimeScale(within.since, within.until)
    lines = sum(b.total for b in buckets)
    selected = None
    if within.selection:
        first, last = within.selection
        selected = (scale.percent(first), scale.percent(last))
    unknown = next((b.start for b in buckets if not b.known), None)
    return Histogram(
        broad=bar_chart(counts, 54, 30),
        narrow=bar_chart(counts, 42, 22, NARROW_BARS),
        ticks=scale.ticks(6, visit.clock.axis_of(within.span)),
        few_ticks=scale.ticks(2, visit.clock.axis_of(within.span)),
        hatch_from=scale.percent(unknown) if unknown else None,
        selected=selected,
        lines=lines,
        lines_selected=lines,
        buckets=list(buckets),
    )


async def _facets(visit: Visit, asked: Question) -> Panel[list[facets.Facet]]:
    since, until = asked.range.shown
    source = visit.site.source

    async def read() -> list[facets.Facet]:
        fields = facets.constrained(asked.text)
        counted: list[Facets] = await together(
            source.facets(_filter(asked), since, until),
            *(
                source.facets(parse(filter_text.without(asked.text, field)), since, until)
                for field in fields
            ),
        )
        others = dict(zip(fields, counted[1:], strict=True))
        return facets.build(asked.text, counted[0], others, asked.link)

    return await visit.panel("Facets", read, asked.text, asked.range.length or (since, until))


def _filter(asked: Question) -> Filter:
    assert asked.filter is not None  # noqa: S101  pages with a mistake ask nothing
    return asked.filter


def _entries(panel: Panel[Page], gaps: Panel[list[Gap]], asked: Question) -> list[Entry]:
    """Put gaps among the rows they lie between."""
    if panel.value is None:
        return []
    found = [Entry(row.ts, row=row) for row in panel.value.rows]
    since, until = asked.range.shown
    newest = min(until, asked.after.ts) if asked.after else until
    oldest = since
    if panel.value.next is not None:
        oldest = panel.value.next.ts
    among = [
        Entry(at, gap=gap)
        for gap in gaps.value or []
        if oldest <= (at := gap.from_at or gap.detected_at) < newest
    ]
    return sorted([*found, *among], key=lambda e: e.at, reverse=True) if among else found
