"""What a terminal says of tries to tell somebody: the same thing once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from outrider_collector.store.reading.types import Attempt, Notification
from outrider_collector.terminal.tries import try_lines, why

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ERROR = "NetworkError: connection refused"


def attempt(second: int, outcome: str = "retry", error: str | None = ERROR) -> Attempt:
    """A try of one second."""
    at = NOW + timedelta(seconds=second)
    return Attempt(at, at, outcome, error)


ROW = Notification(
    id=1, alert=1, notice="fired", channel="tg", channel_type="telegram", conversation="telegram:1",
    priority="warning", fate="waiting", why=ERROR, content={}, attempts=0, not_before=NOW,
    provider_id=None, created_at=NOW, finished_at=None, rule="r", summary="s", state="firing",
    labels={}, tries=[attempt(n) for n in range(9)],
)  # fmt: skip
CENTRE = replace(ROW, channel="in-app", channel_type="in-app", fate="sent", tries=[],
                 why=f"tg: waiting: {ERROR}")  # fmt: skip


def test_tries_that_came_to_the_same_are_one_line() -> None:
    """Nine refusals are one line with first and last; what differs has its own."""
    tries = [*(attempt(n) for n in range(9)), attempt(20, "sent", None)]
    same, last = try_lines(tries)

    assert same == (
        "tries 1 to 9  2026-03-01 12:00:00.000 to 2026-03-01 12:00:08.000  retry: " + ERROR
    )
    assert last == "try 10  2026-03-01 12:00:20.000  sent"


def test_an_error_stands_where_it_happened() -> None:
    """Not beside the tries that say it, and not as what the notification centre came to."""
    assert why(ROW, [ROW, CENTRE]) == ""
    assert why(CENTRE, [ROW, CENTRE]) == "; it names what could not be told at once: tg"
    assert why(replace(ROW, tries=ROW.tries[:1]), [ROW]) == f": {ERROR}"
