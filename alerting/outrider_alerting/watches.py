"""What a rule wants to know of records: filters whose hits are counted in the path of the records.

Hits are filed under what was asked, not under the rule: two rules that ask the same share them, and
an edit of anything else keeps them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from outrider.filter import Filter, parse
from outrider_alerting.kinds import (
    ComponentRule,
    CompositeRule,
    DistinctRule,
    GapRule,
    GaugeRule,
    RatioRule,
    Rule,
    ScheduleRule,
    top_priority,
)
from outrider_alerting.state import JOB_EVENTS

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from outrider_alerting.rules import RuleSet

Role = Literal["records", "whole", "values", "numbers", "events"]
"""What the hits are for the rule: its records; what their share is taken of; values of a field, the
last in the key; numbers of a field; events of a job, the last in the key."""


MAX_URGENT: Final = 100
MAX_URGENT_BYTES: Final = 1_024


class Watch(NamedTuple):
    """One filter with one ``by``, and the attribute whose numbers are summed up, if any."""

    filter: Filter
    by: tuple[str, ...]
    number: str | None = None
    role: Role = "records"

    @property
    def key(self) -> bytes:
        """What its hits are filed under: SHA-256 of what is asked."""
        asked = [self.filter.key, *self.by]
        if self.number is not None:
            asked.append(f"\0{self.number}")
        return hashlib.sha256("\n".join(asked).encode()).digest()


def watches(rule: Rule) -> Sequence[Watch]:
    """Return what a rule asks of records; nothing for rules about something else."""
    if isinstance(rule, ComponentRule | GapRule | CompositeRule):
        return ()
    if isinstance(rule, ScheduleRule):
        asked = parse(f"({rule.filter.text}) event:({' OR '.join(JOB_EVENTS)})")
        return (Watch(asked, ("event",), role="events"),)
    if isinstance(rule, RatioRule):
        # The share of what `of` selects: a record that matches only `filter` is not in it.
        part = parse(f"({rule.of.text}) ({rule.filter.text})")
        return Watch(part, rule.by), Watch(rule.of, rule.by, role="whole")
    if isinstance(rule, DistinctRule):
        return (Watch(rule.filter, (*rule.by, rule.field), role="values"),)
    if isinstance(rule, GaugeRule):
        return (Watch(rule.filter, rule.by, rule.field, role="numbers"),)
    return (Watch(rule.filter, rule.by),)


def hits_key(rule: Rule) -> bytes | None:
    """Return what the hits of a rule's records are filed under; None for a rule without records."""
    return next((watch.key for watch in watches(rule)), None)


def urgent_filters(rule_set: RuleSet, frozen: Container[str] = ()) -> list[str]:
    """Return the filters whose records agents send at once, at most 100 of at most 1,024 bytes.

    Those of rules that say ``urgent``, or say nothing and are critical; each once, in rule order.
    """
    chosen: dict[str, None] = {}
    for rule in rule_set.rules:
        asked = watches(rule)
        said = getattr(rule, "urgent", None)
        urgent = top_priority(rule) == "critical" if said is None else said
        if rule.name in frozen:
            continue
        if asked and urgent and len(asked[0].filter.key.encode()) <= MAX_URGENT_BYTES:
            chosen[asked[0].filter.key] = None
    return list(chosen)[:MAX_URGENT]
