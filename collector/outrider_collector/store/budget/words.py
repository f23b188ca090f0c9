"""The disk budget in a line, for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from outrider.durations import said as length_said
from outrider.sizes import said as size
from outrider_collector.store.budget.limits import SOON_S, Level, used_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_collector.store.budget.forecast import Forecast
    from outrider_collector.store.budget.limits import Budget, Measured
    from outrider_collector.store.budget.services import Quota, Written


class Judged(NamedTuple):
    """How the store's room is, as a state of its component, and why."""

    state: Literal["up", "degraded", "down"]
    reason: str


def judge(
    measured: Measured,
    budget: Budget | None,
    now_level: Level,
    coming: Forecast | None,
    beyond: Sequence[Written] = (),
    quota: Quota | None = None,
    *,
    is_full: bool = False,
) -> Judged:
    """Judge the room; ``coming`` is None before the first look, ``beyond`` who is over a quota.

    ``is_full``: nothing at all is taken.
    """
    filled = _filled(measured, budget)
    if is_full:
        return Judged("down", f"{filled}: agents keep everything")
    if now_level is Level.HOLD:
        return Judged("down", f"{filled}: agents keep all but audit records and errors")
    if now_level is Level.SHED:
        return Judged("degraded", f"{filled}: debug records go before their time")
    full_s = coming.full_in_s if coming is not None else None
    if full_s is not None and full_s < SOON_S:
        return Judged("degraded", f"{filled}, {course(coming)}")
    if beyond and quota is not None:
        return Judged("degraded", f"{_over(beyond, quota)}; {filled}")
    words = course(coming)
    return Judged("up", f"{filled}, {words}" if words else filled)


def _filled(measured: Measured, budget: Budget | None) -> str:
    used_bytes = used_of(budget, measured)
    used = size(used_bytes)
    if budget is None:
        return f"{used}, without a budget"
    whose = "the disk's " if budget.is_disk else ""
    percent = 100 * budget.share(used_bytes)
    return f"{used} of {whose}{size(budget.limit_bytes)} ({percent:.0f} %)"


def course(coming: Forecast | None) -> str:
    """Say how it goes on; nothing where there is nothing to say."""
    if coming is None:
        return ""
    if not coming.is_known:
        return "too early for a forecast"
    rate = f"{size(round(coming.a_day_bytes))} a day"
    if coming.full_in_s is not None:
        return f"full in {length_said(coming.full_in_s)} at the last day's rate, {rate}"
    most = f"at most {size(round(coming.most_bytes))} within a year"
    if coming.limit_bytes is None:
        return f"{most} at the last day's rate, {rate}"
    return f"stays under it, {most} at the last day's rate, {rate}"


def _over(beyond: Sequence[Written], quota: Quota) -> str:
    first = beyond[0]
    more = f" and {len(beyond) - 1} more" if len(beyond) > 1 else ""
    return (
        f"service {first.service}{more} wrote {size(first.size_bytes)} in a day, "
        f"more than its {size(quota.of(first.service))}"
    )
