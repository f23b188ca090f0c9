"""When streams that rest say up to when everything of them was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_agent.batches import BatchMaker
    from outrider_agent.followed import Followed
    from outrider_agent.handover import Handover
    from outrider_agent.tail import Tail

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
    """Hand over the watermarks that are due; ``looked_us``: start of the last look for files.

    Where that of a stream that rests is due, those of others that rest go with it, so that they are
    one message every ten seconds and not one for each stream.
    """
    often_us = min(max(len(living) / _A_SECOND, 1.0), _SELDOM_S) * 1_000_000
    # Whoever told less long ago has nothing to tell, whatever else is to be said of it.
    least_us = min(often_us - 500_000, _SELDOM_S * 500_000)
    latest_us = batches.latest_watermark_us(looked_us)
    resting: list[tuple[Tail, int]] = []
    is_due = False
    for followed in living:
        tail = followed.tail
        if latest_us - tail.watermark_us < least_us:
            continue
        quiet_us = now_us - tail.active_us
        if tail.has_pending or followed.behind or quiet_us > _ACTIVE_US:
            continue
        watermark_us = batches.watermark_us(tail, looked_us)
        age_us = watermark_us - tail.watermark_us
        # Half a second less, so that a whole number of turns apart is not one turn more.
        if quiet_us < _QUIET_US:
            if age_us >= often_us - 500_000:
                handover.give(batches.watermark(tail, watermark_us))
        elif age_us >= _SELDOM_S * 500_000:
            resting.append((tail, watermark_us))
            is_due = is_due or age_us >= _SELDOM_S * 1_000_000 - 500_000
    if is_due:
        for tail, watermark_us in resting:
            handover.give(batches.watermark(tail, watermark_us))
