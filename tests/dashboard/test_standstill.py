"""The overview's first words where nothing is committed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from outrider_collector.store.reading.types import (
    Cause,
    Completeness,
    Gauges,
    Overview,
    Part,
    Worker,
)
from outrider_collector.terminal.status_text import headline
from outrider_dashboard import sentences

if TYPE_CHECKING:
    from typing import Literal

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def worker(name: str, state: str) -> Worker:
    """A worker of one host, in a state."""
    return Worker("s", name, "h", 1, state, NOW, "", None, None, Gauges())


def test_who_is_quiet_is_not_affected() -> None:
    """A file that is finished is nobody's trouble; of whom a silent host explains it is one."""
    complete = Completeness(NOW, [], [], [], 0, 1)
    workers = [worker("a", "up"), worker("b", "unknown"), worker("c", "unknown")]
    states = {"up": 1, "unknown": 2}
    well = Overview(NOW, [], workers, [], complete, states)
    assert (well.affected, well.quiet) == (0, 2)
    said = sentences.headline(well, 0)
    assert said.title == "Nothing is wrong"
    assert said.support == "1 worker is up and its work advances. 2 workers are quiet."
    assert headline(well) == "Nothing is wrong. 1 worker is up, 2 quiet."

    gone = Cause("agent_silent", "h", NOW, "no word", agent=1, explains=(workers[1].name,))
    ill = Overview(NOW, [gone], workers, [], complete, states)
    assert (ill.affected, ill.quiet) == (1, 1)
    assert sentences.headline(ill, 1).support.startswith("1 of 3 workers is affected.")


@pytest.mark.parametrize(
    ("kind", "title", "state"),
    [
        ("not_committing", "Commits fail for 2 min", "failed"),
        ("collector_silent", "Unknown: no collector has reported for 2 min", "unknown"),
    ],
)
def test_a_standstill_is_the_headline(
    kind: Literal["not_committing", "collector_silent"], title: str, state: str
) -> None:
    """Whatever else is wrong: what the page shows may be of an earlier time."""
    since = NOW - timedelta(minutes=2)
    standing = Cause(kind, "one", since, "no space left on device: free room")
    dead = Cause("dead", "w", since, "killed")
    complete = Completeness(NOW, [], [], [], 0, 1)
    overview = Overview(NOW, [standing, dead], [], [], complete, {"up": 3})
    found = sentences.headline(overview, 2)

    assert found.title == title
    assert found.support.startswith("No space left on device: free room.")
    line = sentences.cause_line(standing)
    assert (line.state, line.subject, line.href) == (state, "Collector one", "/#store")
    (piece,) = sentences.completeness_pieces([Part("standstill", "Commits fail.")])
    assert piece.blind
