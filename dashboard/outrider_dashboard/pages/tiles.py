"""Workers as tiles by service, for the overview and the page of workers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from outrider_collector.store.reading.types import STATES
from outrider_dashboard import numbers, sentences
from outrider_dashboard.charts.spark import Spark, tile_spark
from outrider_dashboard.charts.waterline import Counts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from outrider_collector.store.reading.activity import ActivityWindow
    from outrider_collector.store.reading.types import Activity, Worker
    from outrider_dashboard import timing

MOST_TILES = 200
"""Above this many workers, healthy ones are cells."""


@dataclass(frozen=True)
class Tile:
    """One worker: name, state, its hour, and the one figure that decides."""

    worker: Worker
    href: str
    spark: Spark | None
    figure: str
    troubled: bool


@dataclass(frozen=True)
class Service:
    """The tiles of one service, worst first, stable within a state."""

    name: str
    tiles: list[Tile]
    up: int
    ended: int = 0
    """Workers that ended as they should; they have no tile."""
    ended_last: str = ""
    """How long ago the last of them did."""


def services(
    workers: Sequence[Worker], window: ActivityWindow | None, clock: timing.Clock
) -> list[Service]:
    """Group workers by service, worst first; a service of which all ended says so."""
    by_name: dict[str, list[Worker]] = {}
    for worker in workers:
        by_name.setdefault(worker.service, []).append(worker)
    order = {state: i for i, state in enumerate(STATES)}
    out = []
    for name, found in by_name.items():
        ended = [w for w in found if w.state == "retired"]
        living = [w for w in found if w.state != "retired"]
        living.sort(key=lambda w: (order.get(w.state, 2), w.worker, w.host))
        last = max((w.since for w in ended), default=None)
        out.append(
            Service(
                name,
                [tile(w, window.of(w.name) if window else None, clock) for w in living],
                sum(w.state == "up" for w in living),
                len(ended),
                clock.short_age(last) if last else "",
            )
        )
    # Worst first, then by name, so that services hold still while nothing changes.
    return sorted(out, key=lambda s: (_worst(s, order), s.name))


def _worst(service: Service, order: dict[str, int]) -> int:
    """Return how bad the worst tile is; all that is well counts the same."""
    first = service.tiles[0].worker.state if service.tiles else "retired"
    return min(order.get(first, 2), order["up"] if service.tiles else order["retired"])


def tile(worker: Worker, activity: Activity | None, clock: timing.Clock) -> Tile:
    """Draw one worker."""
    troubled = worker.state not in {"up", "retired"}
    return Tile(
        worker=worker,
        href=sentences.worker_href(worker.name),
        spark=hour_spark(activity, worker.state, worker.since, clock) if activity else None,
        figure=_figure(worker, activity, clock),
        troubled=troubled,
    )


def _figure(worker: Worker, activity: Activity | None, clock: timing.Clock) -> str:
    backlog = worker.gauges.backlog_bytes or 0
    if worker.state == "lagging":
        return numbers.file_size(backlog)
    if worker.state == "degraded":
        return ""
    if worker.state != "up":
        return clock.short_age(worker.since)
    if backlog >= 1000:
        return numbers.file_size(backlog)
    lines = [n for n in (activity.lines if activity else []) if n is not None]
    # The running minute is not over; the one before it says the rate.
    return f"{numbers.compact(lines[-2] if len(lines) > 1 else sum(lines))}/min"


def hour_spark(activity: Activity, state: str, since: datetime, clock: timing.Clock) -> Spark:
    """Draw the last hour of a worker in a state since a moment."""
    # The running minute is not over: drawn, it would look like a fall.
    counts = minute_counts(activity)[:-1]
    start = clock.now - timedelta(minutes=len(counts))
    share = (since - start).total_seconds() / (60 * max(1, len(counts)))
    unknown = ended = None
    if state == "silent":
        unknown = min(0.9, max(0.0, share))
    elif state == "dead" and share > 0:
        ended = min(1.0, share)
    return tile_spark(counts, unknown, ended)


def minute_counts(activity: Activity) -> list[Counts]:
    """Turn an activity into counts; a minute that nobody counted stands as none."""
    return [
        Counts(
            volume=max(0, (lines or 0) - (warns or 0) - (errors or 0)),
            warn=warns or 0,
            error=errors or 0,
        )
        for lines, warns, errors in zip(
            activity.lines, activity.warns, activity.errors, strict=True
        )
    ]
