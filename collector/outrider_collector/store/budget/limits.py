"""From which fill of the budget on what is done, and until when. Pure.

The budget is what the configuration says. Where the file system of the database can be seen from
here, it is not more than what the database has and what is free there; without a word in the
configuration it is that. The write-ahead log is of the file system: its size is the server's choice
(``max_wal_size``), no record that goes makes it smaller, so a budget that the configuration says is
the database's without it. Of a file system the margins are shares too, but not more than some
gigabytes: 5 % of a large disk that is shared with others is no emergency.
"""

from __future__ import annotations

from enum import Enum, IntEnum, auto
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

GB: Final = 1_000_000_000
SOON_S: Final = 3 * 86_400.0
"""Full within so long is worth a warning."""


class Level(IntEnum):
    """What is done for room; each does what those before it do."""

    WELL = 0
    SHED = 1
    """Days of debug records go before their time, the oldest first."""
    HOLD = 2
    """Agents keep everything but audit records and errors."""

    @property
    def word(self) -> str:
        """Its name in status rows and figures."""
        return self.name.lower()

    @classmethod
    def of_word(cls, word: object) -> Level:
        """Return the level of that name; of any other, WELL."""
        return next((one for one in cls if one.word == word), cls.WELL)


class Keeping(Enum):
    """What agents keep for want of room here."""

    NOTHING = auto()
    ALL_BUT_VITAL = auto()
    """All but audit records and errors."""
    EVERYTHING = auto()


class Measured(NamedTuple):
    """What the database takes, in bytes."""

    database_bytes: int
    wal_bytes: int
    """Its write-ahead log; 0 where this login may not look."""
    free_bytes: int | None
    """Free on its file system; None where that cannot be seen from here."""

    @property
    def used_bytes(self) -> int:
        """All of it: what a disk gives."""
        return self.database_bytes + self.wal_bytes


class Budget(NamedTuple):
    """How much there may be, and at which fill what is done, in bytes."""

    limit_bytes: int
    is_disk: bool
    """It is the room of the file system, not what the configuration says."""

    def _below(self, percent: float, most_bytes: int) -> int:
        margin = int(self.limit_bytes * percent / 100)
        return self.limit_bytes - (min(margin, most_bytes) if self.is_disk else margin)

    @property
    def shed_from(self) -> int:
        """90 %; of a disk, 20 GB free where that is less."""
        return self._below(10, 20 * GB)

    @property
    def shed_until(self) -> int:
        """85 %, or 30 GB free: so much is dropped at once, so that it is not done every minute."""
        return self._below(15, 30 * GB)

    @property
    def hold_from(self) -> int:
        """95 %, or 10 GB free."""
        return self._below(5, 10 * GB)

    @property
    def hold_until(self) -> int:
        """92 %, or 16 GB free."""
        return self._below(8, 16 * GB)

    @property
    def full_until(self) -> int:
        """98 %, of what the configuration says: from all of it on, nothing at all is taken."""
        return self._below(2, 0)

    def used_bytes(self, measured: Measured) -> int:
        """Return what counts to it: the log where it is the disk's room."""
        return measured.used_bytes if self.is_disk else measured.database_bytes

    def share(self, used_bytes: int) -> float:
        """Return how much of it is used, 1.0: all."""
        return used_bytes / max(1, self.limit_bytes)


class Room(NamedTuple):
    """A budget as a collector sees it, which others may not."""

    budget: Budget
    wal_bytes: int
    """The write-ahead log as it sees it; of the database itself all see the same."""

    def used_bytes(self, database_bytes: int) -> int:
        """Return how much of the budget is used."""
        return database_bytes + (self.wal_bytes if self.budget.is_disk else 0)


class Wanted(NamedTuple):
    """What the configuration says of a budget."""

    limit_bytes: int | None = None
    """None: nothing."""
    is_off: bool = False
    """Nothing is to be done for room."""


OFF: Final = Wanted(is_off=True)


def budget_of(wanted: Wanted, measured: Measured) -> Budget | None:
    """Return the budget that binds first; None where there is none."""
    if wanted.is_off:
        return None
    found = []
    if wanted.limit_bytes is not None:
        found.append(Budget(wanted.limit_bytes, is_disk=False))
    if measured.free_bytes is not None:
        found.append(Budget(measured.used_bytes + measured.free_bytes, is_disk=True))
    return min(found, key=lambda one: one.hold_from - one.used_bytes(measured), default=None)


def used_of(budget: Budget | None, measured: Measured) -> int:
    """Return what counts to a budget, all of it where there is none."""
    return measured.used_bytes if budget is None else budget.used_bytes(measured)


def is_full(rooms: Iterable[Room], database_bytes: int, *, was_full: bool = False) -> bool:
    """Return whether nothing at all may be taken: a budget that no disk enforces is used up.

    What was full is so until some of it is free. A disk needs no such word: it refuses by itself,
    and its last part is for audit and errors.
    """
    return any(
        database_bytes >= (room.budget.full_until if was_full else room.budget.limit_bytes)
        for room in rooms
        if not room.budget.is_disk
    )


def level(before: Level, used_bytes: int, budget: Budget | None) -> Level:
    """Return the level at this fill. What was begun ends at a lower fill than it began at."""
    if budget is None:
        return Level.WELL
    if used_bytes >= budget.hold_from:
        return Level.HOLD
    if before is Level.HOLD and used_bytes >= budget.hold_until:
        return Level.HOLD
    if used_bytes >= budget.shed_from:
        return Level.SHED
    if before is not Level.WELL and used_bytes >= budget.shed_until:
        return Level.SHED
    return Level.WELL
