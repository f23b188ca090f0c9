"""One step under way: what it would change, laid over a state that it does not change.

A step whose transaction fails leaves no trace. The parts of a step (:mod:`.records`,
:mod:`.liveness`, :mod:`.overflow`) read and write rule states here, and tell transitions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from outrider_alerting.durations import SECOND_US
from outrider_alerting.episodes import OPEN, StaleChange, Transition
from outrider_alerting.program import key_names
from outrider_alerting.state import RuleState
from outrider_alerting.watermarks import combined

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_alerting.episodes import Episode
    from outrider_alerting.kinds import Rule
    from outrider_alerting.program import Program
    from outrider_alerting.state import Address, EngineState, Opened
    from outrider_alerting.watermarks import Answer, Quorum, Scope


class Overlay:
    """Rule states as they are after the part of the step that is done, and what it has told."""

    def __init__(
        self,
        state: EngineState,
        *,
        now_us: int,
        program: Program,
        quorum: Quorum,
        enter: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.enter = enter
        """Called with the rule that is worked on from now on."""
        self.now_us = now_us
        self.now_s = now_us // SECOND_US
        self.program = program
        self.transitions: list[Transition] = []
        self.stale: list[StaleChange] = []
        self.changed: dict[Address, RuleState | None] = {}
        self.touched: set[Address] = set()
        """Record keys to evaluate whatever the watermarks say."""
        self.asked: dict[Scope, Answer] = {}
        self.moved = False
        """Something was judged: a replay without this step might judge it with later records."""
        self.since: dict[str, int] = state.general.since
        self.thawed = frozenset(state.general.frozen) - frozenset(program.frozen)
        """Rules that were frozen up to now: what was counted of them has a hole."""
        self._state = state
        self._quorum = quorum
        self._tracked: dict[str, int] = {}
        self._instances: dict[str, int] = {}

    # -------------------------------------------------------------- states

    def new(self, rule: Rule) -> RuleState:
        """Return the state of a key that nothing is known of."""
        return RuleState(subject=self.program.subject(rule), by=",".join(key_names(rule)))

    def get(self, address: Address) -> RuleState | None:
        """Return a key's state, or None."""
        if address in self.changed:
            return self.changed[address]
        return self._state.rules.get(address)

    def put(self, address: Address, state: RuleState | None) -> None:
        """Set a key's state; None forgets it."""
        rule, key = address
        before = self.get(address)
        self._tracked[rule] = (
            self._tracked.get(rule, 0) + (state is not None) - (before is not None)
        )
        if key:
            delta = _is_open(state) - _is_open(before)
            self._instances[rule] = self._instances.get(rule, 0) + delta
        if state is None and address not in self._state.rules:
            self.changed.pop(address, None)
        else:
            self.changed[address] = state

    def active(self) -> set[Address]:
        """Return the keys that are open, blocked or waiting for a time."""
        of_step = {a for a, state in self.changed.items() if state is not None and state.is_active}
        return self._state.active | of_step

    def counted_since_s(self, rule: Rule) -> int:
        """Return since when the rule, or one about the same, has counted."""
        return self.since.get(self.program.subject(rule), self.now_s)

    # -------------------------------------------------------------- limits

    def may_open(self, rule: Rule) -> bool:
        """Tell whether one more alert of this rule may open."""
        return not key_names(rule) or self.instances(rule.name) < rule.max_instances

    def instances(self, rule: str) -> int:
        """Return how many alerts of a rule are open, the overflow alert aside."""
        return self._state.instances.get(rule, 0) + self._instances.get(rule, 0)

    def firing(self) -> frozenset[str]:
        """Return the rules of which an alert is firing (or has ceased and is kept firing)."""
        states = ((address[0], self.get(address)) for address in self.active())
        return frozenset(
            rule for rule, s in states if s is not None and s.phase in {"firing", "recovering"}
        )

    def tracked(self, rule: str) -> int:
        """Return how many keys of a rule have a state."""
        return self._state.tracked.get(rule, 0) + self._tracked.get(rule, 0)

    # -------------------------------------------------------------- conclusions

    def answer(self, rule: Rule, key: tuple[str, ...]) -> Answer:
        """Return how far the records of (rule, key) are complete."""
        answers: list[Answer] = []
        for scope in self.program.scopes(rule, key):
            if scope not in self.asked:
                self.asked[scope] = self._quorum.answer(scope)
            answers.append(self.asked[scope])
        return combined(answers)

    def tell(
        self,
        address: Address,
        before: Episode,
        after: Episode,
        *,
        at_us: int,
        reason: str,
        opened: Opened,
        without: tuple[str, ...] = (),
        evidence: tuple[tuple[int, int], ...] = (),
    ) -> None:
        """Add a transition."""
        rule, key = address
        self.transitions.append(
            Transition(
                rule=rule,
                key=key,
                from_state=before.state,
                to_state=after.state,
                at_us=at_us,
                concluded_us=self.now_us,
                reason=reason,
                started_us=after.started_us,
                fired_us=after.fired_us,
                kind=opened.kind,
                priority=opened.priority,
                labels=opened.labels,
                summary=opened.summary,
                runbook=opened.runbook,
                value=opened.value,
                threshold=opened.threshold,
                without=without,
                evidence=evidence,
            )
        )

    def withdraw(self, address: Address, state: RuleState, reason: str) -> None:
        """Close what is open under a key that has nothing left to evaluate, and forget it."""
        before = state.episode
        after = before.moved("withdrawn", self.now_us)
        if after.state == "resolved" and state.opened is not None:
            why = f"withdrawn: {reason}"
            self.tell(address, before, after, at_us=self.now_us, reason=why, opened=state.opened)
        self.put(address, None)

    def mark_stale(self, address: Address, state: RuleState, answer: Answer) -> None:
        """Note whether the end of an open alert can be told at all."""
        stale = state.episode.is_open and answer.until_us is None
        if stale == state.stale:
            return
        self.put(address, msgspec.structs.replace(state, stale=stale))
        if state.episode.is_open:
            rule, key = address
            since = answer.last_seen_us if stale else None
            self.stale.append(StaleChange(rule=rule, key=key, stale=stale, since_us=since))


def _is_open(state: RuleState | None) -> bool:
    return state is not None and state.phase in OPEN
