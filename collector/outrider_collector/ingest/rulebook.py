"""The active rule set as this collector has it: what matches is counted by it, and what is urgent.

The store refuses a commit that was counted by another set than the active one; then the set is
fetched anew and the commit repeated. So a stale book costs a repetition, never a missed hit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import outrider
from outrider.columns import ColumnError
from outrider_alerting.counting import HitCounter
from outrider_alerting.rules import RuleSet
from outrider_alerting.watches import urgent_filters
from outrider_collector.store import rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider.columns import Columns
    from outrider_alerting.hits import Hit
    from outrider_collector.ingest.links import Links

log = outrider.get_logger(__name__)


class ActiveRules:
    """One version of the rules; never changes."""

    def __init__(self, version: int | None, rule_set: RuleSet) -> None:
        self.version = version
        """None before any rules were applied."""
        self.urgent_filters = tuple(urgent_filters(rule_set))
        """Filters of rules whose records agents send at once."""
        self._counter = HitCounter(rule_set)

    def hits(self, columns: Columns, believable_from_us: int | None = None) -> Sequence[Hit]:
        """Count what the rules match in one batch.

        ``believable_from_us``: all before it was complete before this batch; None: not known.
        """
        try:
            return self._counter.count(columns, believable_from_us=believable_from_us)
        except (ColumnError, ValueError, RecursionError):
            # A malformed column, or attributes nested beyond reason. What of it the database takes
            # is stored, the rest goes to quarantine; the stream goes on.
            log.exception("a batch could not be counted", stream=columns.stream)
            return []


class RuleBook:
    """Holds the active rules and fetches others."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self.active = ActiveRules(None, RuleSet())

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
            ActiveRules(found.version, found.rule_set) if found else ActiveRules(None, RuleSet())
        )
