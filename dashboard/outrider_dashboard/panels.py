"""The boundary around every panel: what fails in one touches no other.

A panel is read by one awaitable. If that fails, the page still comes: with the panel's last good
data and its age where the store is only out of reach, otherwise with an error in the panel's place
that has a code and an id. The id is in the dashboard's own log line, so it finds its cause. Whether
trying again can help is the error catalogue's decision, not the page's.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from outrider.errors import Fault, Reason, RetryClass

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

T = TypeVar("T")

DEADLINE_S = 8.0
"""A panel that takes longer is given up, so that a page always comes."""

_MEMORY = 256
"""Panels whose last good data is kept; the least recently good one goes first."""

_DOWN_S = 3.0
"""After the store was out of reach, panels do not wait for it again for so long."""


_TO_REPEAT = frozenset({"40001", "40P01"})
"""SQLSTATEs of a read that had to give way, as on a replica to what it replays."""


class Report(Protocol):
    """Where failures are written."""

    def __call__(self, panel: str, fault: Fault, correlation_id: str) -> None:
        """Write one failure with the id that the page shows."""


@dataclass(frozen=True)
class Panel(Generic[T]):
    """What became of one panel. Exactly one of fresh, stale and failed holds."""

    title: str
    value: T | None = None
    stale: bool = False
    failed: bool = False
    good_at: datetime | None = None
    """When ``value`` was read."""
    since: datetime | None = None
    """When it failed."""
    code: str = ""
    text: str = ""
    correlation_id: str = ""
    retry: bool = False

    @property
    def unreachable(self) -> bool:
        """Whether the store did not answer, so that other panels suffer as well."""
        return self.code == Reason.STORE_DOWN

    @property
    def fresh(self) -> bool:
        """Whether the value is of now."""
        return not (self.stale or self.failed)


async def _read(read: Callable[[], Awaitable[T]]) -> T:
    """Read, and once more where the database only asked to repeat: others are not kept waiting."""
    try:
        return await read()
    except Fault as fault:
        if not _to_repeat(fault):
            raise
    return await read()


def _to_repeat(fault: Fault) -> bool:
    return fault.metadata.get("sqlstate") in _TO_REPEAT


class Boundary:
    """Reads panels and remembers their last good data."""

    def __init__(
        self, now: Callable[[], datetime], new_id: Callable[[], str], report: Report
    ) -> None:
        self._now = now
        self._new_id = new_id
        self._report = report
        self._good: OrderedDict[str, tuple[datetime, Any]] = OrderedDict()
        self._down: tuple[datetime, Fault] | None = None
        self.failures: Counter[str] = Counter()
        """Panels that were not read, by code, since the start."""

    async def load(
        self,
        title: str,
        key: str,
        read: Callable[[], Awaitable[T]],
        *,
        deadline_s: float = DEADLINE_S,
    ) -> Panel[T]:
        """Read one panel. ``key`` names its data: what differs by filter has a key for each."""
        try:
            self._raise_if_down()
            async with asyncio.timeout(deadline_s):
                value = await _read(read)
        except Fault as fault:
            return self._failed(title, key, fault)
        except TimeoutError:
            # Without an answer nothing is known to be wrong with the question.
            late = f"The store did not answer within {deadline_s:.0f} s."
            return self._failed(title, key, Fault(Reason.STORE_DOWN, detail=late))
        except Exception as error:  # noqa: BLE001  a mistake in one panel must not take the page
            bug = Fault(Reason.INTERNAL_BUG, error=type(error).__name__)
            bug.__cause__ = error
            return self._failed(title, key, bug)
        self._down = None
        self._remember(key, value)
        return Panel(title, value, good_at=self._now())

    def _raise_if_down(self) -> None:
        if self._down is not None:
            at, fault = self._down
            if (self._now() - at).total_seconds() < _DOWN_S:
                raise fault

    def _remember(self, key: str, value: object) -> None:
        self._good[key] = (self._now(), value)
        self._good.move_to_end(key)
        while len(self._good) > _MEMORY:
            self._good.popitem(last=False)

    def _failed(self, title: str, key: str, fault: Fault) -> Panel[T]:
        now = self._now()
        correlation_id = self._new_id()
        unreachable = fault.reason == Reason.STORE_DOWN
        if (
            unreachable
            and not _to_repeat(fault)
            and (self._down is None or self._down[1] is not fault)
        ):
            self._down = (now, fault)
        self._report(title, fault, correlation_id)
        self.failures[str(fault.reason)] += 1
        good = self._good.get(key) if unreachable else None
        return Panel(
            title=f"{title} could not be read",
            value=good[1] if good else None,
            stale=good is not None,
            failed=good is None,
            good_at=good[0] if good else None,
            since=now,
            code=str(fault.reason),
            text=sentence(fault.text),
            correlation_id=correlation_id,
            retry=fault.retry is not RetryClass.NEVER,
        )


def sentence(text: str) -> str:
    """Make a fault's text a sentence: a capital, a full stop."""
    text = text.strip()
    if not text:
        return text
    ended = text if text[-1] in ".!?" else text + "."
    return ended[0].upper() + ended[1:]
