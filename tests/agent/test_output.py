"""What `outrider run` makes of its child's output, without a child."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from outrider_agent.output import Output

CAME = datetime(2026, 11, 30, 10, 0, 0, 123456, tzinfo=UTC)


class Written:
    """One stream of a child, and the records that were made of it."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.output = Output(
            "stderr",
            self.lines.append,
            UTC,
            clock_ns=lambda: int(CAME.timestamp()) * 1_000_000_000 + CAME.microsecond * 1000,
        )

    def records(self) -> list[dict[str, Any]]:
        """Return what was written so far."""
        return [json.loads(line) for line in self.lines]


def test_the_time_that_a_line_names_is_its_time() -> None:
    """As in a file: a job that prints of what was at eight is found at eight."""
    written = Written()
    written.output.feed(b"2026-11-30 08:00:00,250 ERROR j: written at eight\n")
    written.output.feed(b"nothing is said of time\n")
    eight, plain = written.records()
    assert eight["ts"] == "2026-11-30T08:00:00.250000Z"
    assert eight["message"] == "j: written at eight"
    assert plain["ts"] == "2026-11-30T10:00:00.123456Z"
    assert plain["attributes"] == {"stream": "stderr"}


def test_a_time_that_cannot_be_is_kept_as_it_was_written() -> None:
    """The record has the time at which it came, and says which one it did not believe."""
    written = Written()
    written.output.feed(b"1971-01-01 08:00:00,250 ERROR j: the clock's battery is empty\n")
    (one,) = written.records()
    assert one["ts"] == "2026-11-30T10:00:00.123456Z"
    mark = one["attributes"]["outrider.time"]
    assert mark == {"original": "1971-01-01 08:00:00,250", "reason": "absurd"}
