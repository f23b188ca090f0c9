"""Time ranges of the log page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from outrider_dashboard import ranges

NOW = datetime(2026, 7, 14, 14, 3, 24, tzinfo=UTC)


def test_the_default_is_the_last_hour() -> None:
    """Without a word the page shows the hour until now, and its link carries nothing."""
    found = ranges.read(NOW)

    assert (found.since, found.until) == (NOW - timedelta(hours=1), NOW)
    assert found.moves
    assert found.parameters() == {}


def test_links_read_back() -> None:
    """A range and its selection survive the way through a link."""
    found = ranges.read(
        NOW, since="2026-07-14T13:00:00Z", until="2026-07-14T14:00:00.5Z",
        selected="2026-07-14T13:30:00Z~2026-07-14T13:40:00Z",
    )  # fmt: skip
    parameters = found.parameters()

    again = ranges.read(
        NOW, since=parameters["from"], until=parameters["to"], selected=parameters["selected"]
    )

    assert again == found
    assert found.shown == found.selection
    assert not found.moves
    assert found.zoomed().since == datetime(2026, 7, 14, 13, 30, tzinfo=UTC)


def test_typed_times_are_of_the_visitors_zone() -> None:
    """A time without a zone is of the zone that the page is written in."""
    found = ranges.read(NOW, since="2026-07-14 15:00:00", zone=ZoneInfo("Europe/Berlin"))

    assert found.since == datetime(2026, 7, 14, 13, tzinfo=UTC)
    assert found.until == NOW


def test_a_selection_left_behind_selects_nothing() -> None:
    """When a moving range has left its selection behind, the page shows the range."""
    found = ranges.read(NOW, selected="2026-07-13T10:00:00Z~2026-07-13T11:00:00Z")

    assert found.selection is None


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"length": "2w"}, "There is no range '2w'"),
        ({"since": "yesterday"}, "'yesterday' is not a time"),
        ({"since": "2026-07-14T13:00:00Z", "until": "2026-07-14T12:00:00Z"}, "ends before"),
        ({"since": "2019-01-01", "until": "2026-01-01"}, "longer than 400 days"),
        ({"since": "1999-01-01", "until": "1999-02-01"}, "before the year 2000"),
        ({"selected": "nonsense"}, "from~to"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "is not a time"),
    ],
)
def test_mistakes_say_what_to_write(words: dict[str, str], says: str) -> None:
    """Times that cannot be read are answered with a sentence, never with an error page."""
    with pytest.raises(ranges.RangeError, match=says):
        ranges.read(
            NOW,
            words.get("length", ""),
            words.get("since", ""),
            words.get("until", ""),
            words.get("selected", ""),
        )


def test_arrows_shift_by_the_range() -> None:
    """Earlier and later move by the length of the range."""
    found = ranges.read(NOW, "15m")

    assert found.shifted(-1).until == found.since
    assert found.shifted(1).since == found.until
