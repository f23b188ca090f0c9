"""Weekly windows of local time: days, midnight, both changes of the clock, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider_alerting.schedules import ScheduleError, minute_after, parse

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def at(text: str, zone: str = "UTC", fold: int = 0) -> int:
    """Microseconds of a local time; ``fold`` 1 is the second of a doubled hour."""
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return (local - EPOCH) // timedelta(microseconds=1)


def test_a_window_over_midnight_belongs_to_the_day_it_begins() -> None:
    """``fri 22:00-07:00`` holds on Saturday morning, not on Friday morning; its end is outside."""
    held = parse("fri 22:00-07:00", "UTC").holds  # 2026-03-06 is a Friday

    assert [held(at(f"2026-03-{t}")) for t in ("06 21:59:59", "06 22:00", "07 06:59:59")] == [
        False, True, True,
    ]  # fmt: skip
    assert not held(at("2026-03-07 07:00"))
    assert not held(at("2026-03-06 06:00"))
    assert not held(at("2026-03-07 22:00"))


def test_days_are_lists_and_ranges() -> None:
    """Ranges may go over the week's end, windows may be several, no days is every day."""
    weekend = parse("fri-mon 00:00-24:00", "UTC").holds
    both = parse("mon,wed 08:00-09:00, sat 10:00-11:00", "UTC").holds

    assert [weekend(at(f"2026-03-{day:02} 12:00")) for day in range(2, 9)] == [
        True, False, False, False, True, True, True,
    ]  # fmt: skip
    assert [both(at(f"2026-03-{t}")) for t in ("02 08:30", "03 08:30", "04 08:30", "07 10:30")] == [
        True, False, True, True,
    ]  # fmt: skip
    assert all(parse("12:00-13:00", "UTC").holds(at(f"2026-03-{d:02} 12:30")) for d in range(2, 9))


@pytest.mark.parametrize(
    ("old", "new"), [("Europe/Kiev", "Europe/Kyiv"), ("US/Eastern", "America/New_York")]
)
def test_a_zone_that_was_renamed_goes_on_under_both_names(old: str, new: str) -> None:
    """A silence made before the change of name holds at the same times."""
    before, after = parse("22:00-07:00", old).holds, parse("22:00-07:00", new).holds
    hours = [at("2026-03-28 00:00") + n * 3_600_000_000 for n in range(72)]

    assert [before(hour) for hour in hours] == [after(hour) for hour in hours]


def test_the_skipped_hour_is_in_no_window() -> None:
    """Clocks go from 02:00 to 03:00: a window inside the skipped hour does not come that day."""
    skipped = parse("02:00-03:00", BERLIN).holds
    over = parse("01:00-04:00", BERLIN).holds
    start = at("2026-03-29 00:00", BERLIN)
    minutes = [start + n * 60_000_000 for n in range(23 * 60)]

    assert not any(map(skipped, minutes))
    assert sum(map(over, minutes)) == 2 * 60


def test_the_doubled_hour_is_in_its_window_twice() -> None:
    """Clocks go from 03:00 back to 02:00: the window holds in both of the two hours."""
    held = parse("02:00-03:00", BERLIN).holds
    start = at("2026-10-25 00:00", BERLIN)

    assert sum(held(start + n * 60_000_000) for n in range(25 * 60)) == 2 * 60
    assert held(at("2026-10-25 02:30", BERLIN)) and held(at("2026-10-25 02:30", BERLIN, fold=1))


@given(
    st.sampled_from(["UTC", BERLIN, "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]),
    st.integers(0, 23), st.integers(0, 59), st.integers(0, 23), st.integers(0, 59),
    st.integers(0, 60 * 24 * 800),
)  # fmt: skip
def test_what_holds_is_what_the_wall_clock_shows(
    zone: str, h1: int, m1: int, h2: int, m2: int, minutes: int
) -> None:
    """For any zone, window and time: inside exactly if the local time lies between the two."""
    if (h1, m1) == (h2, m2):
        return
    moment = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    shown = moment.astimezone(ZoneInfo(zone)).strftime("%H:%M")
    begin, end = f"{h1:02}:{m1:02}", f"{h2:02}:{m2:02}"
    inside = begin <= shown < end if begin < end else shown >= begin or shown < end

    held = parse(f"{begin}-{end}", zone).holds((moment - EPOCH) // timedelta(microseconds=1))

    assert inside == held


def test_the_next_minute_is_later_and_whole() -> None:
    """Windows begin and end at whole minutes, so the next one is soon enough to look again."""
    assert minute_after(0) == 60_000_000
    assert minute_after(59_999_999) == 60_000_000
    assert minute_after(60_000_000) == 120_000_000


@pytest.mark.parametrize(
    ("text", "zone", "said"),
    [
        ("22:00-07:00", "Mars/Olympus", "no time zone 'Mars/Olympus'"),
        ("22:00-07:00", "../../etc/passwd", "no time zone"),
        ("22:00-07:00", "localtime", "no time zone 'localtime'"),
        ("mon-fri", "UTC", "is no window"),
        ("", "UTC", "is no window"),
        ("moon 22:00-07:00", "UTC", "'moon' is no day"),
        ("25:00-07:00", "UTC", "25:00 is no time of day"),
        ("10:60-11:00", "UTC", "10:60 is no time of day"),
        ("10:00-10:00", "UTC", "lasts no time"),
        ("24:00-10:00", "UTC", "lasts no time"),
        (", ".join(["10:00-11:00"] * 21), "UTC", "more than 20 windows"),
    ],
)
def test_what_cannot_be_read_says_what_to_write(text: str, zone: str, said: str) -> None:
    """A mistake is an error with words, never a schedule that holds at some other time."""
    with pytest.raises(ScheduleError, match=said):
        parse(text, zone)
