"""What the writer of a file lost, until Postgres knows it: told with batches, kept until stored.

Pure.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from outrider_agent.streams import Loss

MOST_ASIDE = 3
"""Losses travel so often with watermarks alone; then they wait for a batch with records."""


class Losses:
    """The losses of one stream."""

    def __init__(self) -> None:
        self._untold: list[Loss] = []
        self._told: deque[tuple[int, Loss]] = deque()
        self._told_aside = 0

    def add(self, losses: Iterable[Loss]) -> None:
        """Have losses told with the next batches."""
        self._untold.extend(losses)
        self._told_aside = 0

    def tell_aside(self) -> Sequence[Loss]:
        """Return the losses that no batch tells yet, for a batch that nobody sends again."""
        self._told_aside += 1
        return self._untold if self._told_aside <= MOST_ASIDE else ()

    def tell(self, end: int) -> tuple[Loss, ...]:
        """Take the losses that no batch tells yet, for the batch that ends at ``end``."""
        losses, self._untold = self._untold, []
        self._told.extend((end, loss) for loss in losses)
        return tuple(losses)

    def stored(self, committed: int) -> list[Loss]:
        """Take the losses that were told in batches up to ``committed``."""
        stored: list[Loss] = []
        while self._told and self._told[0][0] <= committed:
            stored.append(self._told.popleft()[1])
        return stored

    def tell_again(self) -> None:
        """Have all that is not stored told anew."""
        self._untold[:0] = [loss for _, loss in self._told]
        self._told.clear()
