"""How many records an alert of a gap rule is about: all its gaps together, as far as known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outrider_alerting.windows import Bucket

GROWS_S: Final = 60
"""An alert that is open tells no oftener how much more was lost."""


class Loss(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True, gc=False
):
    """What the gaps of one key come to since its alert began."""

    records: int = 0
    """0: nobody knows how many."""
    at_least: bool = False
    """Of some gap the number is not known, or is a lower bound."""
    is_news: bool = False
    """It has grown since it was last told."""
    told_s: int = 0
    """When it was last told, by the evaluator's clock."""

    def more(self, records: int, *, at_least: bool) -> Loss:
        """Return the loss with one more gap; 0 records: the number is not known."""
        return Loss(
            records=self.records + records,
            at_least=self.at_least or at_least or not records,
            is_news=True,
            told_s=self.told_s,
        )

    def told(self, now_s: int) -> Loss:
        """Return the loss as it is once it was told."""
        return msgspec.structs.replace(self, is_news=False, told_s=now_s)

    def parted(self, buckets: Iterable[Bucket], at_s: int) -> tuple[Loss, Loss | None]:
        """Return what belongs to an alert that ends at ``at_s``, and what came after it."""
        after = sum(n for start, n, _ in buckets if start >= at_s)
        if not after:
            return self, None
        before = msgspec.structs.replace(self, records=max(0, self.records - after))
        return before, Loss(records=after if self.records else 0, at_least=self.at_least)

    @property
    def value(self) -> float | None:
        """The number of records; None: it is not known at all."""
        return float(self.records) if self.records else None

    @property
    def count(self) -> str:
        """The number in words: ``1,234``, ``at least 37``, ``an unknown number of``."""
        if not self.records:
            return "an unknown number of"
        return f"{'at least ' if self.at_least else ''}{self.records:,}"

    @property
    def what(self) -> str:
        """What was lost: ``37 records``, ``at least 1 record``, ``lines``."""
        if not self.records:
            return "lines"
        return f"{self.count} record{'' if self.records == 1 else 's'}"

    @property
    def unknown(self) -> str:
        """``, nobody knows how many``, or nothing."""
        return "" if self.records else ", nobody knows how many"
