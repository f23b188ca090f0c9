"""When streams that rest say up to when everything of them was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_agent.batches import BatchMaker
    from outrider_agent.followed import Followed
    from outrider_agent.handover import Handover

_ACTIVE_US = 24 * 3600 * 1_000_000
# About five a second for all, each stream at least every ten seconds, and no more often once it
# has rested for a minute.
_A_SECOND = 5
_SELDOM_S = 10.0
_QUIET_US = 60 * 1_000_000


def tell(
    living: Sequence[Followed],
    batches: BatchMaker,
    handover: Handover,
    looked_us: int,
    now_us: int,
) -> None:
    """Hand over the watermarks that are due; ``looked_us``: start of the last look for files."""
    often_us = min(max(len(living) / _A_SECOND, 1.0), _SELDOM_S) * 1_000_000
    for followed in living:
        tail = followed.tail
        quiet_us = now_us - tail.active_us
        if tail.has_pending or followed.behind or quiet_us > _ACTIVE_US:
            continue
        interval_us = often_us if quiet_us < _QUIET_US else _SELDOM_S * 1_000_000
        watermark_us = batches.watermark_us(tail, looked_us)
        # Half a second less, so that a whole number of turns apart is not one turn more.
        if watermark_us - tail.watermark_us < interval_us - 500_000:
            continue
        handover.give(batches.watermark(tail, watermark_us))
