"""How times and ages are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider import durations
from outrider_dashboard import timing
from outrider_dashboard.timing import Clock

NOW = datetime(2026, 7, 14, 14, 3, 24, 418_000, tzinfo=UTC)
ROW = datetime(2026, 7, 14, 14, 3, 22, 418_118, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (33.9, "33 s"), (59.99, "59 s"), (60, "1 min"), (1337, "22 min 17 s"),
        (3599, "59 min 59 s"), (3600, "1 h"), (11_100, "3 h 05 min"), (86_399, "23 h 59 min"),
        (86_400, "1 day"), (172_800, "2 days"), (-5, "0 s"),
    ],
)  # fmt: skip
def test_age(seconds: float, text: str) -> None:
    """An age says as much as decides, and never a negative time."""
    assert durations.said(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(33, "33 s"), (252, "4 min"), (7300, "2 h"), (180_000, "2 days")]
)
def test_short_age(seconds: float, text: str) -> None:
    """Where space is dear, an age is its largest unit alone."""
    assert timing.short_age(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-12.4, "~12.4 s"), (-0.91, "~0.91 s"), (-7.25, "~7.25 s"), (0.001, "0"), (3, "+3.00 s"),
     (-90, "~1 min 30 s")],
)  # fmt: skip
def test_offset(seconds: float, text: str) -> None:
    """Last words are told by the time before the end, with a true minus sign."""
    assert timing.offset(seconds) == text.replace("~", timing.MINUS)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0 ms"), (2.34, "2.3 ms"), (412.4, "412 ms"), (999.4, "999 ms"), (999.6, "1.0 s"),
     (2800, "2.8 s"), (30_900, "30.9 s"), (90_000, "1 min 30 s")],
)  # fmt: skip
def test_latency(milliseconds: float, text: str) -> None:
    """A latency is in milliseconds, from one second on in seconds."""
    assert timing.latency(milliseconds) == text


def test_forms_of_a_moment() -> None:
    """A row has milliseconds, a sentence the zone, another day its day."""
    clock = Clock(NOW)
    yesterday = datetime(2026, 7, 13, 22, 41, 7, tzinfo=UTC)

    assert clock.row(ROW) == "14:03:22.418"
    assert clock.plain(ROW) == "14:03:22"
    assert clock.sentence(ROW) == "14:03:22 UTC"
    assert clock.full(ROW) == "14:03:22.418118 UTC"
    assert clock.row(yesterday) == "13 Jul 22:41:07"
    assert clock.minute(yesterday) == "13 Jul 22:41"
    assert clock.plain(datetime(2024, 2, 1, tzinfo=UTC)) == "2024 1 Feb 00:00:00"


def test_another_zone() -> None:
    """All times of a view are written in its zone, whose name and other form are at hand."""
    clock = Clock(NOW, ZoneInfo("Europe/Berlin"))

    assert clock.time == "16:03:24"
    assert clock.zone_name == "CEST"
    assert clock.sentence(ROW) == "16:03:22 CEST"
    assert clock.title(ROW) == "14:03:22 UTC"
    assert Clock(NOW).title(ROW) == "2026-07-14 14:03:22 UTC"


@pytest.mark.parametrize(
    ("seconds", "text"), [(3600, "the hour"), (86_400, "24 h"), (300, "5 min"), (604_800, "7 days")]
)
def test_span(seconds: float, text: str) -> None:
    """The length of a range reads well after the word in."""
    assert timing.span(seconds) == text


@pytest.mark.parametrize("name", ["Nowhere/Land", "../../etc/passwd", "", "x" * 99, "Europe/"])
def test_a_zone_that_is_none(name: str) -> None:
    """A visitor's zone that does not exist is no zone, whatever it is written like."""
    assert timing.zone_named(name) is None


@given(st.floats(min_value=0, max_value=1e9))
def test_ages_never_shrink(seconds: float) -> None:
    """A later moment never reads as a shorter age of another unit: 60 s is never written."""
    text = durations.said(seconds)

    assert "60 s" not in text and "60 min" not in text and "24 h" not in text


@given(st.datetimes(min_value=datetime(2001, 1, 1), max_value=datetime(2099, 1, 1)))  # noqa: DTZ001
def test_links_carry_utc(moment: datetime) -> None:
    """What a link carries is read back as the same moment."""
    aware = moment.replace(tzinfo=ZoneInfo("Asia/Tokyo"))

    text = timing.utc_text(aware)

    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == aware


def test_a_clock_of_then() -> None:
    """Ages of old data stand still at the time it was read."""
    clock = Clock(NOW).at(NOW - timedelta(minutes=2))

    assert clock.age(NOW - timedelta(minutes=3)) == "1 min"


def test_no_axis_repeats_a_label() -> None:
    """A short axis writes seconds, so that two places never have one name."""
    for minutes in (1, 5, 6, 60):
        span = timedelta(minutes=minutes)
        write = Clock(NOW).axis_of(span)
        labels = [write(NOW - span * i / 6) for i in range(7)]
        assert len(set(labels)) == 7
