"""Outrider itself as rows of the health page: its collectors and its channels. Pure.

What collectors say of themselves is in their status rows. Of the past it is known when any of them
watched; how a channel did is told by the ledger of messages, not by a bar.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_dashboard.pages.health_rows import Row
from outrider_dashboard.sentences import listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from outrider_collector.store.reading.types import Collector, Uptime

_CHANNEL_STATES = {"ok": "up", "failing": "degraded", "broken": "down"}


def pipeline(collectors: Sequence[Collector], watching: Uptime | None) -> list[Row]:
    """Return a row for the collectors together, and one for each channel that was used."""
    if not collectors:
        return []
    return [_collectors(collectors, watching), *_channels(collectors)]


def _collectors(known: Sequence[Collector], watching: Uptime | None) -> Row:
    alive = [one for one in known if one.alive]
    # One that was stopped on purpose is missed by nobody while another is there.
    gone = [one for one in known if not one.alive and (one.stopped_at is None or not alive)]
    name = "Collector" if len(alive) + len(gone) == 1 else "Collectors"
    failing = [one for one in alive if (one.status.get("failing_for_s") or 0) > 0]
    since: datetime | None = None
    if not alive:
        state, since = "silent", max(one.seen_at for one in known)
        reason = "no collector reports: nobody's state is known since"
    elif failing:
        state, reason = "down", f"commits fail: {failing[0].status.get('failing_reason', '')}"
    elif gone:
        state, since = "degraded", max(one.seen_at for one in gone)
        reason = f"without {listed([one.name for one in gone[:4]])}"
    else:
        state, since, reason = "up", min(one.started_at for one in alive), ""
    measured = watching if watching is not None and watching.share_up is not None else None
    return Row("collector", name, state, since, reason, uptime=measured)


def _channels(collectors: Sequence[Collector]) -> list[Row]:
    """Return the channels as those who used them last say; nobody's word on unused ones."""
    said: dict[str, list[tuple[str, str]]] = {}
    for one in collectors:
        channels = one.status.get("channels") if one.alive else None
        for name, channel in (channels or {}).items():
            state = _CHANNEL_STATES.get(str(channel.get("state")))
            if state is not None:
                said.setdefault(name, []).append((state, str(channel.get("error") or "")))
    return [_channel(name, states) for name, states in sorted(said.items())]


def _channel(name: str, said: Sequence[tuple[str, str]]) -> Row:
    states = {state for state, _ in said}
    error = next((error for state, error in said if state != "up"), "")
    state = states.pop() if len(states) == 1 else "degraded"
    return Row("channel", name, state, None, error, href="/alerts#notifications")
