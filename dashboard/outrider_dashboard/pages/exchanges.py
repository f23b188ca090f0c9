"""Exchanges now: what they let one do, how fast they answer, how far our clocks are. Pure.

The modes are decisions of others and said in words. Where several hosts look, the worst of what
they see is shown: it is what somebody's orders meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING

from outrider.exchanges.modes import Mode
from outrider.exchanges.skew import judge
from outrider_collector.store.reading.components import is_number
from outrider_dashboard import numbers, timing
from outrider_dashboard.charts import skew
from outrider_dashboard.charts.spark import Curve, curve
from outrider_dashboard.pages import health_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_collector.store.reading.types import Component, Sample
    from outrider_dashboard.pages.health_rows import Row
    from outrider_dashboard.timing import Clock

CHART_WIDTH, CHART_HEIGHT = 200, 20
HOUR = timedelta(minutes=60)
_RECENT = timedelta(minutes=5)
"""The number beside the curve is of so long."""

_MODES: dict[str, str] = {
    Mode.ONLINE: "normal",
    Mode.UNKNOWN: "not known",
    Mode.DEGRADED: "degraded",
    Mode.POST_ONLY: "post only",
    Mode.CANCEL_ONLY: "cancel only",
    Mode.MAINTENANCE: "closed, maintenance",
    Mode.DOWN: "down",
}
_RANK: dict[str, int] = {mode: rank for rank, mode in enumerate(Mode)}
_NOTHING = frozenset({"", "nothing"})


@dataclass(frozen=True)
class Exchange:
    """One line of the table."""

    row: Row
    mode: str
    short_mode: str
    """Where room is dear: of a closing, its end."""
    decided_by: str
    """Who says so, where it is not as usual; else empty."""
    tone: str
    """Of mode and latency: warn, bad, blind or none."""
    curve: Curve | None
    """None: the last hour was not sampled."""
    p95: str
    skew: str
    skew_x: float | None
    skew_tone: str
    announced: str
    """In the exchange's words; empty: nothing."""


def exchanges(rows: Sequence[Row], samples: Sequence[Sample], clock: Clock) -> list[Exchange]:
    """Return a line for each exchange among the rows."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    return [
        _exchange(row, by_name.get(row.name, []), clock) for row in rows if row.kind == "exchange"
    ]


def _exchange(row: Row, samples: Sequence[Sample], clock: Clock) -> Exchange:
    decisive = max(row.members, key=_badness)
    mode = str(decisive.facts.get("mode", Mode.UNKNOWN))
    usual = mode == Mode.ONLINE and row.state == "up"
    widest = _widest(row.members)
    said = [str(m.facts.get("announced", "")) for m in row.members]
    words = _MODES.get(mode, "not known")
    return Exchange(
        row=row,
        mode=words,
        short_mode=health_words.word(row, clock) if row.state == "maintenance" else words,
        decided_by="" if usual else str(decisive.facts.get("decided_by", "")),
        tone=_tone(row.state),
        curve=_hour(samples, clock),
        p95=_p95(row, samples, clock),
        skew=timing.DASH if widest is None else numbers.signed_ms(_number(widest, "skew_ms") or 0),
        skew_x=None if widest is None else skew.place(_number(widest, "skew_ms") or 0),
        skew_tone="" if widest is None else _skew_tone(_number(widest, "skew_used_pct") or 0),
        announced=next((text for text in said if text not in _NOTHING), ""),
    )


def _badness(member: Component) -> int:
    return _RANK.get(str(member.facts.get("mode", Mode.UNKNOWN)), _RANK[Mode.UNKNOWN])


def _tone(state: str) -> str:
    if state in {"down", "dead"}:
        return "bad"
    if state in {"expired", "silent", "unknown"}:
        return "blind"
    return "warn" if state == "degraded" else ""


def _number(member: Component, fact: str) -> float | None:
    value = member.facts.get(fact)
    return float(value) if is_number(value) else None


def _widest(members: Sequence[Component]) -> Component | None:
    measured = [m for m in members if _number(m, "skew_ms") is not None]
    return max(measured, key=lambda m: abs(_number(m, "skew_ms") or 0), default=None)


def _skew_tone(used_pct: float) -> str:
    return {"fine": "", "warn": "warn", "fail": "bad"}[judge(used_pct)]


def _hour(samples: Sequence[Sample], clock: Clock) -> Curve | None:
    """Draw the slowest p95 of each minute; minutes without one are a break in the line."""
    minutes: list[float | None] = [None] * 60
    for sample in samples:
        place = 59 - int((clock.now - sample.at) / timedelta(minutes=1))
        if sample.p95_ms is not None and 0 <= place < 60:
            minutes[place] = max(sample.p95_ms, minutes[place] or 0.0)
    if sum(value is not None for value in minutes) < 2:
        return None
    points = [(place / 59, value) for place, value in enumerate(minutes)]
    known = [value for value in minutes if value is not None]
    # What is as always lies low, so that only a rise rises.
    top = max(1.1 * max(known), 3 * median(known))
    return curve(points, CHART_WIDTH, CHART_HEIGHT, top=top)


def _p95(row: Row, samples: Sequence[Sample], clock: Clock) -> str:
    recent = [s.p95_ms for s in samples if s.p95_ms is not None and clock.now - s.at < _RECENT]
    if recent:
        return timing.latency(median(recent))
    now = [value for m in row.members if (value := _number(m, "rest_ms")) is not None]
    if not now or row.state in {"maintenance", "down", "expired"}:
        return timing.DASH
    return timing.latency(max(now))
