"""Facets: values with counts and a checkbox each, which changes the filter's text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider_dashboard import filter_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from outrider_collector.store.reading.types import Facets, FacetValue

FIELDS: dict[str, str] = {
    "severity": "Severity",
    "service": "Service",
    "worker": "Worker",
    "event": "Event",
    "error_code": "Error code",
    "host": "Host",
}
MOST_SHOWN = 6


@dataclass(frozen=True)
class Value:
    """One value: its count, its share of the most frequent one, whether the filter asks for it."""

    text: str
    n: int
    percent: float
    checked: bool
    outside: bool
    """The filter asks for other values of this field, not for this one."""
    href: str
    tone: str


@dataclass(frozen=True)
class Facet:
    """A field with its values."""

    field: str
    title: str
    values: list[Value]
    more: int
    """Values that exist and are not shown."""
    clear_href: str
    """Empty: the filter asks for no value of this field."""


def constrained(text: str) -> list[str]:
    """Return the fields whose own terms must be left out to count their other values."""
    return [field for field in FIELDS if filter_text.asked(text, field)]


def build(
    text: str,
    counted: Facets,
    without: Mapping[str, Facets],
    link: Callable[[str], str],
) -> list[Facet]:
    """Build all facets. ``without`` holds, for constrained fields, counts without their terms."""
    out = []
    for field in FIELDS:
        facets = without.get(field, counted)
        values: Sequence[FacetValue] = getattr(facets, field)
        distinct = facets.distinct.get(field, len(values))
        facet = _facet(text, field, values, distinct, link)
        if facet.values:
            out.append(facet)
    return out


def _facet(
    text: str,
    field: str,
    values: Sequence[FacetValue],
    distinct: int,
    link: Callable[[str], str],
) -> Facet:
    chosen = {v.lower() if field == "severity" else v for v in filter_text.selected(text, field)}
    shown = [v for i, v in enumerate(values) if i < MOST_SHOWN or _name(field, v) in chosen]
    most = max((v.n for v in shown), default=1) or 1
    return Facet(
        field=field,
        title=FIELDS[field],
        values=[
            Value(
                text=value.value,
                n=value.n,
                percent=round(100 * value.n / most, 2),
                checked=_name(field, value) in chosen,
                outside=bool(chosen) and _name(field, value) not in chosen,
                href=link(filter_text.toggled(text, field, _name(field, value))),
                tone=_tone(field, value.value),
            )
            for value in shown
        ],
        more=max(0, distinct - len(shown)),
        clear_href=link(filter_text.without(text, field)) if filter_text.asked(text, field) else "",
    )


def _name(field: str, value: FacetValue) -> str:
    return value.value.lower() if field == "severity" else value.value


def _tone(field: str, value: str) -> str:
    if field == "severity":
        return {"FATAL": "bad", "ERROR": "bad", "WARN": "warn"}.get(value, "")
    return "bad" if field == "error_code" else ""
