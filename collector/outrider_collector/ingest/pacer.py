"""The pacer: once a second it hands credit on, sets agents' intervals and looks for new rules.

Rules that cost too much are frozen beside it: that waits for a gap between commits.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import outrider
from outrider.errors import Fault
from outrider_collector.ingest import pace

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from outrider_collector.ingest.committer import Committer
    from outrider_collector.ingest.figures import Figures
    from outrider_collector.ingest.roster import Roster
    from outrider_collector.ingest.rulebook import RuleBook

TURN_S = 1.0
RULES_EVERY_TURNS = 2
UNREADABLE_EVERY_TURNS = 60
"""That the rules cannot be read, or one not be frozen, is told no oftener."""

log = outrider.get_logger(__name__)


class Pacer:
    """One loop."""

    def __init__(
        self,
        roster: Roster,
        committer: Committer,
        rules: RuleBook,
        figures: Figures,
        *,
        least_interval_ms: int,
    ) -> None:
        self._roster = roster
        self._committer = committer
        self._rules = rules
        self._figures = figures
        self._least_interval_ms = least_interval_ms
        self._batches = 0
        self._turns = 0
        self._told_at_turn: dict[str, int] = {}

    async def run(self) -> None:
        """Pace until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pace())
            group.create_task(self._keep_freezing())

    async def _pace(self) -> None:
        while True:
            await asyncio.sleep(TURN_S)
            self._turns += 1
            if self._turns % RULES_EVERY_TURNS == 0:
                await self._told("the active rules cannot be read", self._rules.refresh())
            self.turn()

    async def _keep_freezing(self) -> None:
        while True:
            await asyncio.sleep(TURN_S * RULES_EVERY_TURNS)
            await self._told("a rule that costs too much could not be frozen", self._rules.freeze())

    def turn(self) -> None:
        """End one turn."""
        self._roster.tell_credit(self._roster.budget.turn())
        self._committer.open_gates()
        batches, self._batches = self._figures.batches - self._batches, self._figures.batches
        old = self._roster.wishes
        new = pace.intervals(batches / TURN_S, old.intervals, least_ms=self._least_interval_ms)
        wishes = replace(old, urgent_filters=self._rules.active.urgent_filters)
        if pace.differs(old.intervals, new):
            wishes = replace(wishes, intervals=new)
        if wishes != old:
            self._roster.wish(wishes)

    async def _told(self, what: str, act: Awaitable[None]) -> None:
        """Act, and tell now and then that it fails."""
        try:
            await act
        except Fault as fault:
            told = self._told_at_turn.get(what)
            if told is not None and self._turns - told < UNREADABLE_EVERY_TURNS:
                return
            self._told_at_turn[what] = self._turns
            log.warning(what, reason=fault.reason, detail=fault.text)
