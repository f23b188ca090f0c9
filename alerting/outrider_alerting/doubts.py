"""What the filter of a silence or a route asks for that no alert of the rules can have. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider.configuration import suggest
from outrider.filter import PRIORITIES, Field, comparisons
from outrider_alerting.kinds import KINDS, ComponentRule, ScheduleRule
from outrider_alerting.wording import RESERVED_LABELS, label_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from outrider.filter import Filter
    from outrider_alerting.rules import RuleSet

_ATTRIBUTES: Final = "attributes."
_NAMED_MAX: Final = 10
"""A doubt names at most so many that there are; the rest is counted."""


def doubts(
    filter_: Filter, rule_set: RuleSet, open_labels: Iterable[Mapping[str, str]] = ()
) -> Iterator[str]:
    """Yield what cannot match, with what exists instead: labels, rules, kinds, priorities."""
    yield from unknown_labels(filter_, rule_set, open_labels)
    values = {
        "rule": [rule.name for rule in rule_set.rules],
        "kind": list(KINDS),
        "priority": list(PRIORITIES),
    }
    for asked in dict.fromkeys(comparisons(filter_.node)):
        name = asked.name.removeprefix(_ATTRIBUTES)
        if name in values and _is_unknown(asked, values[name]):
            yield f"no {name} `{asked.value}`: {_instead(asked.value, values[name])}"


def unknown_labels(
    filter_: Filter, rule_set: RuleSet, open_labels: Iterable[Mapping[str, str]] = ()
) -> Iterator[str]:
    """Yield the labels asked for that no alert has, with those that there are."""
    labels = dict.fromkeys(RESERVED_LABELS)
    for rule in rule_set.rules:
        labels |= dict.fromkeys(label_names(rule))
        if isinstance(rule, ComponentRule | ScheduleRule):
            labels["state"] = None
    for carried in open_labels:
        labels |= dict.fromkeys(carried)
    for name in dict.fromkeys(
        asked.name.removeprefix(_ATTRIBUTES) for asked in comparisons(filter_.node)
    ):
        if name not in labels:
            yield f"no rule gives its alerts a label `{name}`: {_instead(name, labels)}"


def _is_unknown(asked: Field, known: list[str]) -> bool:
    if asked.op != ":":
        return False
    if asked.prefix:
        return not any(name.startswith(asked.value) for name in known)
    return asked.value not in known


def _instead(word: str, known: Iterable[str]) -> str:
    names = list(known)
    near = suggest(word, names)
    hint = f"did you mean `{near}`? There are" if near else "there are"
    more = f" and {len(names) - _NAMED_MAX:,} more" if len(names) > _NAMED_MAX else ""
    return f"{hint}: {', '.join(names[:_NAMED_MAX]) or 'none'}{more}"
