"""What services say where their streams take nothing."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from outrider_agent.reports import Reports
from outrider_collector import run
from outrider_collector.up import tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO


def _on_a_full_disk() -> TextIO:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    return Path("/dev/full").open("w", encoding="utf-8", buffering=1)


def _to_nobody() -> TextIO:
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "w", buffering=1)


@pytest.fixture(params=[_on_a_full_disk, _to_nobody])
def taking_nothing(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TextIO]:
    """Standard output and error of this process: a full disk, or a pipe that nobody reads."""
    stream = request.param()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stream)
        patched.setattr(sys, "stdout", stream)
        yield stream
    with suppress(OSError):
        stream.close()


def test_no_part_ends_because_it_cannot_be_heard(taking_nothing: TextIO) -> None:
    """However much each has to say; what was for the collector is told still."""
    with pytest.raises(OSError, match=r"No space left|Broken pipe"):
        taking_nothing.write("a line\n")
    told: list[str] = []
    reports = Reports()
    reports.sink = lambda event, *_: told.append(event)
    for n in range(300):
        assert reports.say(f"{n}", "x" * 100, event="config.loaded")
        run.say("x" * 100)
        tree.say("x" * 100)
        tree.warn("x" * 100)

    assert told == ["config.loaded"] * 300
