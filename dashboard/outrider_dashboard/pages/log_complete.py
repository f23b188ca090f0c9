"""Completions of the filter: what exists in the range shown, with counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outrider.filter import FilterError, parse
from outrider_dashboard import completion, ranges
from outrider_dashboard.pages.question import asked_range
from outrider_dashboard.site import Visit
from outrider_dashboard.source import ALL

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from outrider.filter import Filter

MOST_VALUES = 500
"""Values of a field that are looked through, the most frequent ones."""


async def complete(request: Request) -> Response:
    """Answer with the list for a caret ``at`` so many characters of ``q``."""
    visit = Visit(request)
    text, at = visit.parameter("q"), visit.parameter("at", 6)
    place = completion.place(text, int(at)) if at.isascii() and at.isdigit() else None
    context: dict[str, Any] = {"place": place, "found": [], "counted": False, "within": None}
    if place is None:
        return visit.part("log_completions.html", **context)
    if not completion.counted(place.field):
        if not place.field:
            context["found"] = completion.complete(place, [])
        return visit.part("log_completions.html", **context)
    try:
        within = asked_range(visit)
    except ranges.RangeError:
        return visit.part("log_completions.html", **context)
    panel = await visit.panel(
        "Completions",
        lambda: visit.site.source.facets(_rest(place.rest), *within.shown, top=MOST_VALUES),
        place.rest, within.length or within.shown,
    )  # fmt: skip
    if panel.value is not None:
        context["found"] = completion.complete(place, getattr(panel.value, place.field))
        context |= {"counted": True, "within": within}
    return visit.part("log_completions.html", **context)


def _rest(text: str) -> Filter:
    """Parse the filter around the caret; one that is not finished yet asks for everything."""
    try:
        return parse(text)
    except FilterError:
        return ALL
