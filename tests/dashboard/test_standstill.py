"""The overview's first words where nothing is committed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from outrider_collector.store.reading.types import Cause, Completeness, Overview, Part
from outrider_dashboard import sentences

if TYPE_CHECKING:
    from typing import Literal

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


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
