"""Where nothing matches: what is a click away, and when something matched last."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from outrider.filter import parse
from outrider_dashboard import filter_text, highlight, ranges
from outrider_dashboard.site import Visit, together

if TYPE_CHECKING:
    from datetime import datetime

    from outrider.filter import Filter
    from outrider_collector.store.reading.types import LogRow
    from outrider_dashboard.pages.question import Question
    from outrider_dashboard.panels import Panel

_LOOK_BACK = timedelta(days=7)


async def would_match(
    visit: Visit, asked: Question, filter_: Filter
) -> list[tuple[str, str, str, int]]:
    """Count what nearby questions would find: the same without one term, or over a longer time."""
    since, until = asked.range.shown
    nearby: list[tuple[str, str, str, Filter, datetime]] = []
    found = filter_text.terms(asked.text)
    milder = filter_text.milder(asked.text)
    if milder is not None:
        lowered, severity = milder
        nearby.append(("With", severity, asked.link(lowered), parse(lowered), since))
    for term in found[:4] if len(found) > 1 else []:
        text = (asked.text[: term.start] + asked.text[term.end :]).strip()
        shorter, _ = highlight.read(" ".join(text.split()))
        if shorter is not None:
            without = asked.text[term.start : term.end]
            nearby.append(("Without", without, asked.link(shorter.text), shorter, since))
    for length in ("24h", "7d"):
        if asked.range.span < ranges.LENGTHS[length]:
            longer = ranges.read(visit.clock.now, length)
            link = asked.link(within=longer)
            nearby.append((ranges.NAMES[length], "", link, filter_, longer.since))

    async def count(of: Filter, start: datetime) -> Panel[int]:
        return await visit.panel(
            "What would match", lambda: visit.site.source.count(of, start, until),
            of.key, start,
        )  # fmt: skip

    counts = await together(*(count(f, start) for _, _, _, f, start in nearby))
    return [
        (label, term, href, panel.value)
        for (label, term, href, _, _), panel in zip(nearby, counts, strict=True)
        if panel.fresh and panel.value
    ]


async def last_match(
    visit: Visit, asked: Question, filter_: Filter, patience_s: float
) -> LogRow | None:
    """Return the newest line that matched before the range, within a week; None: none found."""
    since, _ = asked.range.shown
    panel = await visit.panel(
        "Last match",
        lambda: visit.site.source.search(
            filter_, since - _LOOK_BACK, since, limit=1, patience_s=patience_s
        ),
        asked.text, since,
    )  # fmt: skip
    return panel.value.rows[0] if panel.value is not None and panel.value.rows else None
