"""Times by the thousand are the times that are read one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.instants import EPOCH, to_us
from outrider_agent.time_columns import TimeColumnReader
from outrider_agent.times import MAX_AHEAD_US, TimeReader

START = datetime(2026, 11, 24, 20, 2, 31, tzinfo=UTC)
OBSERVED_US = to_us(START) + 60_000_000
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def written(moments: list[datetime], digits: int) -> list[str | None]:
    """As writers put them into lines, with so many digits after the point."""
    return [f"{m:%Y-%m-%dT%H:%M:%S}.{f'{m.microsecond:06d}'[:digits]}Z" for m in moments]


@given(
    st.lists(
        st.one_of(
            st.integers(0, 999_999).map(lambda us: START + timedelta(microseconds=us)),
            st.integers(0, 5 * 10**6).map(lambda us: START + timedelta(microseconds=us)),
            st.datetimes(LONG_AGO.replace(tzinfo=None), START.replace(tzinfo=None)).map(
                lambda m: m.replace(tzinfo=UTC)
            ),
        ),
        min_size=1,
        max_size=50,
    ),
    st.integers(1, 6),
)
def test_a_column_reads_as_its_times_do(moments: list[datetime], digits: int) -> None:
    """In one second or in many, from 2000 on, with one to six digits."""
    texts = written(moments, digits)
    one_by_one = [TimeReader().iso(text) for text in texts if text is not None]

    assert TimeColumnReader(TimeReader()).read(texts, OBSERVED_US) == one_by_one


@pytest.mark.parametrize(
    "odd",
    [
        None,
        "",
        "2026-11-24T20:02:31Z",
        "2026-11-24T20:02:31.1234567Z",
        "2026-11-24T20:02:31.123456+",
        "2026-11-24T20:02:31,123456Z",
        "2026-11-24T20:02:31.12345\u0664Z",
        "2026-11-24T20:02:61.123456Z",
        "2026-02-30T20:02:31.123456Z",
        "1999-12-31T23:59:59.123456Z",
        "2026-11-24T21:30:00.000000Z",
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_odd_time_sends_all_the_careful_way(odd: str | None, place: int) -> None:
    """What is no time, or absurd, or written otherwise is never read as something else."""
    texts = written([START, START + timedelta(seconds=1)], 6)
    texts.insert(place, odd)

    with pytest.raises(ValueError):
        TimeColumnReader(TimeReader()).read(texts, OBSERVED_US)


def test_a_time_just_not_absurd_is_taken() -> None:
    """An hour ahead of its reading to the microsecond, and no further."""
    (text,) = written([EPOCH + timedelta(microseconds=OBSERVED_US + MAX_AHEAD_US)], 6)
    reader = TimeColumnReader(TimeReader())

    assert reader.read([text], OBSERVED_US) == [OBSERVED_US + MAX_AHEAD_US]
    with pytest.raises(ValueError, match="absurd"):
        reader.read([text], OBSERVED_US - 1)
