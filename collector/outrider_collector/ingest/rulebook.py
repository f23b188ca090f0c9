"""The active rule set as this collector has it: what matches is counted by it, and what is urgent.

The store refuses a commit that was counted by another set than the active one; then the set is
fetched anew and the commit repeated. So a stale book costs a repetition, never a missed hit.

Records are hostile, and rules must not fall silent over one of them: where a batch cannot be
counted, the records that cause it are left out by themselves, counted as such and told, and all
others count.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import outrider
from outrider.columns import ColumnError
from outrider_alerting.counting import HitCounter
from outrider_alerting.rules import RuleSet
from outrider_alerting.watches import urgent_filters
from outrider_collector.store import rules
from outrider_collector.store.blocks import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from outrider.columns import Columns
    from outrider_alerting.hits import Hit
    from outrider_collector.ingest.figures import Figures
    from outrider_collector.ingest.links import Links

MOST_SOUGHT: Final = 64
"""Records of one batch that are sought out one by one; then what fails is left out in its parts."""
TOLD_EVERY_S: Final = 600.0
"""Records that cannot be counted are told of no oftener; each is in the figures."""

log = outrider.get_logger(__name__)


class ActiveRules:
    """One version of the rules; never changes."""

    def __init__(
        self,
        version: int | None,
        rule_set: RuleSet,
        left_out: Callable[[Columns, Exception], object],
    ) -> None:
        """``left_out`` is called with records that could not be counted, and what came of it."""
        self.version = version
        """None before any rules were applied."""
        self.urgent_filters = tuple(urgent_filters(rule_set))
        """Filters of rules whose records agents send at once."""
        self._counter = HitCounter(rule_set)
        self._left_out = left_out

    def hits(self, columns: Columns, believable_from_us: int | None = None) -> Sequence[Hit]:
        """Count what the rules match in one batch. Raises nothing: the stream goes on.

        ``believable_from_us``: all before it was complete before this batch; None: not known.
        """
        found: list[Hit] = []
        parts, left_out = [columns], 0
        while parts:
            part = parts.pop()
            try:
                found += self._counter.count(part, believable_from_us=believable_from_us)
            except Exception as mistake:  # noqa: BLE001  whatever it is, other records count
                halves = _halves(part) if left_out < MOST_SOUGHT else []
                parts += reversed(halves)
                if not halves:
                    left_out += part.n
                    self._left_out(part, mistake)
        return found


def _halves(columns: Columns) -> list[Columns]:
    """Return both halves of a batch; nothing for one record and for a malformed column.

    What the database takes of a malformed batch is stored, the rest goes to quarantine.
    """
    middle = columns.n // 2
    if not middle:
        return []
    try:
        return [cut(columns, 0, middle), cut(columns, middle, columns.n)]
    except ColumnError:
        return []


class RuleBook:
    """Holds the active rules and fetches others."""

    def __init__(
        self, links: Links, figures: Figures, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._links = links
        self._figures = figures
        self._clock = clock
        self._told_at_s: float | None = None
        self.active = self._rules(None, RuleSet())

    async def refresh(self) -> None:
        """Fetch the active set if it is another one. Raises like :meth:`reload`."""
        async with self._links.use() as connection:
            version = await rules.active_version(connection)
        if version != self.active.version:
            await self.reload()

    async def reload(self) -> None:
        """Fetch the active set. Raises RULES_TOO_NEW, STORE_DOWN."""
        async with self._links.use() as connection:
            found = await rules.active(connection)
        self.active = (
            self._rules(found.version, found.rule_set) if found else self._rules(None, RuleSet())
        )

    def _rules(self, version: int | None, rule_set: RuleSet) -> ActiveRules:
        return ActiveRules(version, rule_set, self._uncounted)

    def _uncounted(self, columns: Columns, mistake: Exception) -> None:
        """Count records that no rule was held against, and tell of them now and then."""
        self._figures.uncounted += columns.n
        now_s = self._clock()
        if self._told_at_s is not None and now_s - self._told_at_s < TOLD_EVERY_S:
            return
        self._told_at_s = now_s
        log.error(
            "records are stored that no rule could be held against",
            exc_info=mistake,
            stream=columns.stream,
            stream_offset=columns.stream_offset[0],
            records=columns.n,
            uncounted_since_start=self._figures.uncounted,
        )
