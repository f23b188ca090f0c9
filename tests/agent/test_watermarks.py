"""When streams that rest say that they are complete: each every ten seconds, all at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.agent.stepped import connected_host

if TYPE_CHECKING:
    from pathlib import Path


def test_watermarks_of_resting_streams_go_together(tmp_path: Path) -> None:
    """Files that came at different times are told of in the same second, and none less often."""
    host = connected_host(tmp_path)
    host.now = time.time()  # files have real times
    for number in range(6):
        host.site.write(f"{number}.log", "line\n")
        host.step(0.3)
        host.step(1.7)
    for _ in range(100):
        host.step(1.0)
    told: list[int] = []
    oldest_us = 0
    for _ in range(60):
        before = len(host.collector.batches)
        host.step(1.0)
        told.append(len(host.collector.batches) - before)
        now_us = host._disk._wall_us()
        marks = [stored.watermark_us for stored in host.collector.database.open_streams()]
        oldest_us = max(oldest_us, now_us - min(marks))
    host.crash()

    assert set(told) == {0, 6}
    assert told.count(6) == 6
    assert oldest_us <= 10_500_000
