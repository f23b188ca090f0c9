"""``outrider store stats``: what the store holds, how full it is, and what a day of it costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from outrider.command import DONE
from outrider.sizes import said as size
from outrider.visible import visible
from outrider_collector.store import partitions, schema
from outrider_collector.store.budget import growth, levels, services, words
from outrider_collector.store.budget.limits import (
    Level,
    budget_of,
    is_full,
    level,
    used_of,
)
from outrider_collector.store.budget.measure import measure
from outrider_collector.store.stats import read_stats
from outrider_collector.terminal.commands import say
from outrider_collector.terminal.render import table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from psycopg import AsyncConnection

    from outrider_collector.config import Configuration
    from outrider_collector.store.budget.forecast import Forecast
    from outrider_collector.store.budget.limits import Budget, Measured
    from outrider_collector.store.budget.services import Quota, Written
    from outrider_collector.store.stats import Stats

_SHOWN: Final = 5


class Disk(NamedTuple):
    """How much room there is, by the settings of this host."""

    measured: Measured
    budget: Budget | None
    coming: Forecast
    written: Sequence[Written]
    quota: Quota

    @property
    def judged(self) -> words.Judged:
        """The room as a state, and why."""
        used_bytes = used_of(self.budget, self.measured)
        now_level = level(Level.WELL, used_bytes, self.budget)
        beyond = services.over(self.written, self.quota)
        rooms = levels.rooms(self.budget, self.measured)
        full = is_full(rooms, self.measured.database_bytes)
        return words.judge(
            self.measured, self.budget, now_level, self.coming, beyond, self.quota, is_full=full
        )


async def run(configuration: Configuration, *, as_json: bool) -> int:
    """Count everything and say it; return the exit code."""
    async with schema.opened(configuration.database_url) as connection:
        stats = await read_stats(connection)
        left = await partitions.hours_left(connection)
        disk = await _disk(connection, configuration)
    text = json.dumps(_document(stats, left, disk)) if as_json else _text(stats, left, disk)
    say(text)
    return DONE


async def _disk(connection: AsyncConnection, configuration: Configuration) -> Disk:
    measured = await measure(connection)
    budget = budget_of(configuration.store.wanted(), measured)
    retention = configuration.retention.by_class()
    coming = await growth.read_forecast(connection, retention, measured, budget)
    written = await services.read_written(connection)
    return Disk(measured, budget, coming, written, configuration.store.quota.quota())


def _document(stats: Stats, hours_ahead: int, disk: Disk) -> dict[str, Any]:
    coming = disk.coming
    return {
        **stats.document(hours_ahead=hours_ahead),
        "disk": {
            "used_bytes": used_of(disk.budget, disk.measured),
            "wal_bytes": disk.measured.wal_bytes,
            "budget_bytes": disk.budget.limit_bytes if disk.budget is not None else None,
            "state": disk.judged.state,
            "said": disk.judged.reason,
            "a_day_bytes": round(coming.a_day_bytes) if coming.is_known else None,
            "full_in_days": coming.full_in_days,
            "most_bytes": round(coming.most_bytes) if coming.is_known else None,
            "classes": [
                {
                    "class": one.label,
                    "kept_days": one.kept.total_seconds() / 86_400,
                    "now_bytes": one.now_bytes,
                    "a_day_bytes": round(one.a_day_bytes),
                    "then_bytes": round(one.then_bytes),
                }
                for one in coming.courses
            ],
        },
        "services": [
            {"service": one.service, "bytes": one.size_bytes, "records": one.records}
            for one in disk.written
        ],
    }


def _text(stats: Stats, hours_ahead: int, disk: Disk) -> str:
    lines = [
        f"records     {_filling(stats.records, stats.blocks, stats.block_bytes)}",
        f"fresh       {_filling(stats.fresh_records, stats.fresh_blocks, stats.fresh_bytes)}",
        "compacted   "
        + _filling(
            stats.records - stats.fresh_records,
            stats.blocks - stats.fresh_blocks,
            stats.block_bytes - stats.fresh_bytes,
        ),
        f"sheets      {stats.sheet_bytes:,} bytes (their filters once more, for searches)",
        f"elsewhere   {stats.other_bytes:,} bytes",
        f"streams     {stats.open_streams:,} open of {stats.streams:,}",
        f"gaps        {stats.gaps:,}",
        f"quarantine  {stats.quarantined:,} records or ranges",
        f"partitions  {stats.partitions:,}, {hours_ahead} hours ahead",
        f"feed        number {stats.feed_number:,}",
        f"disk        {visible(disk.judged.reason)}",
        f"wal         {_wal(disk)}",
    ]
    if stats.oldest is not None and stats.newest is not None:
        lines.insert(1, f"arrived     {stats.oldest:%Y-%m-%d %H:%M} to {stats.newest:%H:%M:%S} UTC")
    if disk.written:
        lines.append(f"last day    {shares(disk.written)}")
    return "\n".join([*lines, "", *_costs(disk.coming)])


def _wal(disk: Disk) -> str:
    counts = disk.budget is None or disk.budget.is_disk
    return f"{size(disk.measured.wal_bytes)} of write-ahead log, " + (
        "counted above" if counts else "beside the budget: max_wal_size bounds it"
    )


def _filling(records: int, blocks: int, size_bytes: int) -> str:
    return (
        f"{records:,} in {blocks:,} blocks ({records / max(blocks, 1):,.0f} a block), "
        f"{size_bytes:,} bytes ({size_bytes / max(records, 1):,.0f} a record)"
    )


def shares(written: Sequence[Written]) -> str:
    """Say who wrote how much of the last day, the most first."""
    total = max(1, sum(one.size_bytes for one in written))
    said = [
        f"{visible(one.service)} {100 * one.size_bytes / total:.0f} % ({size(one.size_bytes)})"
        for one in written[:_SHOWN]
    ]
    more = len(written) - len(said)
    return ", ".join([*said, *([f"{more} more services"] if more else [])])


def _costs(coming: Forecast) -> list[str]:
    """Return the table of classes: what a day of retention costs."""
    head = ["class", "kept", "now", "a day", "when all of it is kept"]
    unknown = "too early"
    rows = [
        [
            one.label,
            _days(one.kept),
            size(one.now_bytes),
            size(round(one.a_day_bytes)) if coming.is_known else unknown,
            size(round(one.then_bytes)) if coming.is_known else unknown,
        ]
        for one in coming.courses
    ]
    return table(head, [*rows, ["all else", "", size(coming.fixed_bytes), "", ""]])


def _days(kept: timedelta) -> str:
    return f"{kept.total_seconds() / 86_400:g}d"
