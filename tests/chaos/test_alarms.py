"""The judge of alarms: who is called superseded was told by another row, or the ledger lies."""

from __future__ import annotations

import pytest

from outrider_alerting.draft import TOGETHER
from tests.chaos.alarms import Notice, teller

DIGEST = "told in the digest of A-1"


def _rows(*rows: Notice) -> dict[tuple[int, str], Notice]:
    return {(row.alert, row.notice): row for row in rows}


@pytest.mark.parametrize("fate", ["sent", "unknown"])
def test_what_left_tells_itself(fate: str) -> None:
    """A firing with a message of its own."""
    fired = Notice(1, "fired", fate, "7")

    assert teller(_rows(fired, Notice(1, "resolved", "sent", "8")), fired) == fired


def test_a_firing_is_told_with_its_end() -> None:
    """Over before it was told: the end's message tells both."""
    fired, end = (
        Notice(1, "fired", "superseded", None, TOGETHER),
        Notice(1, "resolved", "sent", "8"),
    )

    assert teller(_rows(fired, end), fired) == end


def test_an_end_is_told_in_a_digest() -> None:
    """Of several that came late one row is sent, which names the others."""
    first = Notice(1, "resolved", "sent", "8")
    fired = Notice(2, "fired", "superseded", None, TOGETHER)
    end = Notice(2, "resolved", "superseded", None, DIGEST)
    rows = _rows(first, fired, end)

    assert (teller(rows, fired), teller(rows, end)) == (first, first)


@pytest.mark.parametrize(
    "end",
    [
        Notice(1, "resolved", "suppressed", None, "its firing was not told"),
        Notice(1, "resolved", "superseded", None, "its firing was never delivered"),
        Notice(1, "resolved", "waiting", None),
        Notice(1, "resolved", "dead", None),
    ],
)
def test_superseded_by_what_was_not_sent_is_found(end: Notice) -> None:
    """Nobody was told: the judge says so."""
    fired = Notice(1, "fired", "superseded", None, TOGETHER)

    with pytest.raises(AssertionError):
        teller(_rows(fired, end), fired)


def test_superseded_for_another_reason_is_found() -> None:
    """A firing that was overtaken by what does not tell it was not told."""
    fired = Notice(1, "fired", "superseded", None, "over before it was told")

    with pytest.raises(AssertionError):
        teller(_rows(fired, Notice(1, "resolved", "sent", "8")), fired)
