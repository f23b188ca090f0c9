"""What the evaluation of each rule takes of this process, and which rule takes too much."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from outrider_alerting.budgets import Budgets

if TYPE_CHECKING:
    from collections.abc import Callable

HIT_S: Final = 100e-6
"""What a rule may take of each hit it is given; what is beyond goes by the budget."""


class Spending:
    """Costs of rules, step after step; ``clock`` is the work of this thread, in seconds."""

    def __init__(
        self,
        clock: Callable[[], float] = time.thread_time,
        wall: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._rule = ""
        self._since_s = 0.0
        self._taken: dict[str, float] = {}
        self._budgets: Budgets[str] = Budgets()

    def begin(self) -> None:
        """Begin a step."""
        self._rule, self._since_s = "", self._clock()
        self._taken.clear()

    def enter(self, rule: str) -> None:
        """Count what follows to this rule."""
        if rule == self._rule:
            return
        now_s = self._clock()
        self._taken[self._rule] = self._taken.get(self._rule, 0.0) + now_s - self._since_s
        self._rule, self._since_s = rule, now_s

    def end(self, hits: dict[str, int]) -> dict[str, str]:
        """End a step that gave rules so many hits; return who takes too much, and how much."""
        self.enter("")
        now_s = self._wall()
        overspent: dict[str, str] = {}
        for rule, took_s in self._taken.items():
            if not rule:
                continue
            allowed_s = HIT_S * hits.get(rule, 0)
            over = self._budgets.spend(rule, took_s, allowed_s=allowed_s, now_s=now_s)
            if over is not None:
                overspent[rule] = over.words("its windows", "the evaluator's")
        return overspent

    def forget(self) -> None:
        """Other rules are evaluated from now on."""
        self._budgets = Budgets()
