"""The active rule set as this collector has it: what matches is counted by it, and what is urgent.

The store refuses a commit that was counted by another set than the active one; then the set is
fetched anew and the commit repeated. So a stale book costs a repetition, never a missed hit.

A rule whose filter takes more than its budget of the time (:mod:`~outrider_alerting.budgets`) is
frozen by the next turn of the pacer: in the database, so every collector agrees and no hit is half
counted.

Records are hostile, and rules must not fall silent over one of them: where a batch cannot be
counted, the records that cause it are left out by themselves, counted as such and told, and all
others count.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

import outrider
from outrider.columns import ColumnError
from outrider_alerting.budgets import Budgets
from outrider_alerting.counting import Costs, HitCounter
from outrider_alerting.rules import RuleSet
from outrider_alerting.watches import urgent_filters, watches
from outrider_collector.store import rules
from outrider_collector.store.blocks import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from outrider.columns import Columns
    from outrider_alerting.budgets import Overspent
    from outrider_alerting.frozen import Frozen
    from outrider_alerting.hits import Hit
    from outrider_collector.ingest.figures import Figures
    from outrider_collector.ingest.links import Links

MOST_SOUGHT: Final = 64
"""Records of one batch that are sought out one by one; then what fails is left out in its parts."""
FREEZE_WITHIN_S: Final = 1.0
"""So long it is tried to freeze a rule beside running commits; then a little later."""
TOLD_EVERY_S: Final = 600.0
"""Records that cannot be counted are told of no oftener; each is in the figures."""

RECORD_S: Final = 2e-6
"""What a filter may take of each record it is asked about; most take a tenth of it ..."""
BYTE_S: Final = 5e-9
"""... and of each byte of text ..."""
MATCH_S: Final = 10e-6
"""... and of each record that matches: its key is made. What is beyond goes by the budget."""

log = outrider.get_logger(__name__)


class Clocks(NamedTuple):
    """Seconds from anywhere: of the wall, and of this thread's work."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.thread_time


_CLOCKS: Final = Clocks()


class ActiveRules:
    """One version of the rules; never changes."""

    def __init__(
        self,
        version: int | None,
        rule_set: RuleSet,
        left_out: Callable[[Columns, Exception], object],
        *,
        frozen: Mapping[str, Frozen] | None = None,
        clocks: Clocks = _CLOCKS,
    ) -> None:
        """``left_out`` is called with records that could not be counted, and what came of it."""
        self.version = version
        """None before any rules were applied."""
        self.urgent_filters = tuple(urgent_filters(rule_set, frozen or {}))
        """Filters of rules whose records agents send at once."""
        self.overspent: dict[str, str] = {}
        """Rules that have cost too much, and how much: to be frozen."""
        self._rule_set = rule_set
        self._counter = HitCounter(rule_set, frozen or {})
        self._left_out = left_out
        self._clocks = clocks
        self._budgets: Budgets[bytes] = Budgets()

    def hits(self, columns: Columns, believable_from_us: int | None = None) -> Sequence[Hit]:
        """Count what the rules match in one batch. Raises nothing: the stream goes on.

        ``believable_from_us``: all before it was complete before this batch; None: not known.
        """
        costs, began_s = Costs(self._clocks.wall), self._clocks.cpu()
        found = self._count(columns, believable_from_us, costs)
        self._account(columns, costs, self._clocks.cpu() - began_s)
        return found

    def _count(self, columns: Columns, believable_from_us: int | None, costs: Costs) -> list[Hit]:
        found: list[Hit] = []
        parts, left_out = [columns], 0
        while parts:
            part = parts.pop()
            try:
                found += self._counter.count(
                    part, believable_from_us=believable_from_us, costs=costs
                )
            except Exception as mistake:  # noqa: BLE001  whatever it is, other records count
                halves = _halves(part) if left_out < MOST_SOUGHT else []
                parts += reversed(halves)
                if not halves:
                    left_out += part.n
                    self._left_out(part, mistake)
        return found

    def _account(self, columns: Columns, costs: Costs, cpu_s: float) -> None:
        """Enter what each filter took; no more than this thread did altogether."""
        text_bytes = len(columns.message_raw) + len(columns.attributes_raw)
        allowed_s = RECORD_S * columns.n + BYTE_S * text_bytes
        if cpu_s <= allowed_s and not len(self._budgets):
            return
        now_s = self._clocks.wall()
        for key, (took_s, matched) in costs.taken.items():
            over = self._budgets.spend(
                key,
                min(took_s, cpu_s),
                allowed_s=allowed_s + MATCH_S * matched,
                now_s=now_s,
            )
            if over is not None:
                self._overspent(key, over)

    def _overspent(self, key: bytes, over: Overspent) -> None:
        why = over.words("its filter", "a collector's")
        for rule in self._rule_set.rules:
            if any(watch.key == key for watch in watches(rule)):
                self.overspent.setdefault(rule.name, why)


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
        self.active = self._rules(None, RuleSet(), {})

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
            self._rules(found.version, found.rule_set, found.frozen)
            if found
            else self._rules(None, RuleSet(), {})
        )

    async def freeze(self) -> None:
        """Freeze what costs too much; :meth:`refresh` brings it, as it does to others.

        Raises STORE_DOWN, RULES_TOO_NEW.
        """
        counting = self.active
        if counting.version is None or not counting.overspent:
            return
        async with self._links.use() as connection:
            frozen = await rules.freeze(
                connection, counting.version, counting.overspent, within_s=FREEZE_WITHIN_S
            )
        if frozen is not None:
            for name, why in counting.overspent.items():
                log.warning("a rule costs too much and is frozen", rule=name, detail=why)

    def _rules(
        self, version: int | None, rule_set: RuleSet, frozen: Mapping[str, Frozen]
    ) -> ActiveRules:
        return ActiveRules(version, rule_set, self._uncounted, frozen=frozen)

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
