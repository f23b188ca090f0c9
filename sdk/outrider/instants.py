"""Instants as batches, Postgres and rules have them: microseconds since 2000-01-01T00:00:00Z.

It is Postgres's epoch, so a time on the wire is stored as it came.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
EPOCH_UNIX_US: Final = 946_684_800_000_000
"""The epoch, in microseconds since 1970."""
MICROSECOND: Final = timedelta(microseconds=1)


def from_unix_us(unix_us: int) -> int:
    """Turn microseconds since 1970 into microseconds since 2000."""
    return unix_us - EPOCH_UNIX_US


def to_us(moment: datetime) -> int:
    """Return an aware datetime as microseconds since 2000."""
    return (moment - EPOCH) // MICROSECOND


def from_us(us: int) -> datetime:
    """Return microseconds since 2000 as a datetime in UTC.

    What no datetime can hold becomes the nearest that one can.
    """
    try:
        return EPOCH + us * MICROSECOND
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if us > 0 else datetime.min.replace(tzinfo=UTC)
