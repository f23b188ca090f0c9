"""What `outrider run` makes of its child's output, without a child."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from outrider_agent.output import HELD_S, UNFINISHED_HELD_S, Output

TRACEBACK = b"""Traceback (most recent call last):
  File "a.py", line 1, in <module>
    int("x")
ValueError: invalid literal

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 3, in <module>
    raise RuntimeError("a\\nb")
RuntimeError: the order is gone
"""
CAME = datetime(2026, 11, 30, 10, 0, 0, 123456, tzinfo=UTC)


class Written:
    """One stream of a child, and the records that were made of it."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.now = 0.0
        self.output = Output(
            "stderr",
            self.lines.append,
            UTC,
            clock_ns=lambda: (
                (int(CAME.timestamp()) + int(self.now)) * 1_000_000_000 + CAME.microsecond * 1000
            ),
            monotonic=lambda: self.now,
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
    written.output.finish()
    (one,) = written.records()
    assert one["ts"] == "2026-11-30T10:00:00.123456Z"
    mark = one["attributes"]["outrider.time"]
    assert mark == {"original": "1971-01-01 08:00:00,250", "reason": "absurd"}


def test_a_traceback_is_one_error_however_slowly_it_is_written() -> None:
    """Its exception is waited for; the record has the time of its first line."""
    written = Written()
    for line in TRACEBACK.splitlines(keepends=True):
        written.output.feed(line)
        written.now += HELD_S / 2 if line.startswith((b"Value", b"\n")) else UNFINISHED_HELD_S / 2
        written.output.settle(written.now)
    (one,) = written.records()
    assert one["message"] == TRACEBACK.decode().rstrip("\n")
    assert one["severity"] == 17
    assert one["ts"] == "2026-11-30T10:00:00.123456Z"
    assert one["attributes"] == {"stream": "stderr"}


def test_what_goes_on_after_it_was_given_up_is_as_severe() -> None:
    """A writer that stalls within a traceback splits it, and its exception is an error still."""
    written = Written()
    written.output.feed(b'Traceback (most recent call last):\n  File "a.py", line 1\n')
    due = written.output.settle(UNFINISHED_HELD_S - 0.1)
    assert due == UNFINISHED_HELD_S
    assert written.records() == []
    assert written.output.settle(UNFINISHED_HELD_S) is None
    written.output.feed(b"ValueError: x\nplain\n")
    begin, end, plain = written.records()
    assert begin["message"].endswith("line 1")
    assert (end["message"], end["severity"]) == ("ValueError: x", 17)
    assert (plain["message"], plain["severity"]) == ("plain", 9)


def test_an_ordinary_line_is_written_at_once() -> None:
    """Nothing waits for a next line that may never come; what may go on waits half a second."""
    written = Written()
    written.output.feed(b"plain\nno newline yet")
    assert [one["message"] for one in written.records()] == ["plain"]
    written.output.feed(b"\nERROR: it failed\n")
    assert [one["message"] for one in written.records()] == ["plain", "no newline yet"]
    written.output.settle(HELD_S)
    assert written.records()[2]["message"] == "it failed"


def test_the_end_writes_what_is_held() -> None:
    """Also what has no newline: that alone is marked."""
    whole, cut = Written(), Written()
    whole.output.feed(TRACEBACK)
    whole.output.finish()
    cut.output.feed(TRACEBACK[:-1])
    cut.output.finish()
    assert whole.records()[0]["attributes"] == {"stream": "stderr"}
    assert cut.records()[0]["attributes"]["outrider.partial"] is True
    assert whole.records()[0]["message"] == cut.records()[0]["message"]


@given(st.lists(st.integers(0, len(TRACEBACK) * 2 + 40), max_size=30))
def test_reads_split_nothing(cuts: list[int]) -> None:
    """However the pipe is read, the same records come out while the writer writes."""
    data = b"first\n" + TRACEBACK + b'{"message":"json"}\nplain\n' + TRACEBACK + b"last\n"
    written = Written()
    places = [0, *sorted(cuts), len(data)]
    for begin, end in pairwise(places):
        written.output.feed(data[begin:end])
    written.output.finish()
    text = TRACEBACK.decode().rstrip("\n")
    said = [one["message"] for one in written.records()]
    assert said == ["first", text, "json", "plain", text, "last"]
