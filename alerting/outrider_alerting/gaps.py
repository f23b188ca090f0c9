"""Gap rules in a step: what was lost, by the row that says so.

A gap counts when it is found, not when its records were written: it is news the day it is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from outrider_alerting import overflow, records
from outrider_alerting.losses import Loss

if TYPE_CHECKING:
    from outrider_alerting.overlay import Overlay


class GapSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A gap row that was committed."""

    service: str
    worker: str
    host: str
    reason: str
    records: int
    """0: the number is not known."""
    at_least: bool = False
    """It is a lower bound."""
    detected_us: int


def note(overlay: Overlay, gap: GapSeen) -> None:
    """Count a gap for every rule that looks at it."""
    key = (gap.service, gap.worker, gap.host)
    named = dict(zip(("service", "worker", "host"), key, strict=True)) | {"reason": gap.reason}
    for rule in overlay.program.gaps:
        if rule.filter is not None and not rule.filter.match_labels(named):
            continue
        address = (rule.name, key)
        state = overlay.get(address)
        if state is None and overlay.tracked(rule.name) >= overflow.MAX_KEYS:
            overflow.exceeded(overlay, rule, overflow.keys_reason(overflow.MAX_KEYS))
            continue
        known = state or overlay.new(rule)
        loss = (known.loss or Loss()).more(gap.records, at_least=gap.at_least)
        overlay.put(address, msgspec.structs.replace(known, reason=gap.reason, loss=loss))
        records.counted(overlay, rule, address, gap.detected_us, max(1, gap.records))
