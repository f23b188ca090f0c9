"""What rules would have told of the past, beside what was told.

The past is played with the engine that works live (:mod:`outrider_alerting.plays`), ordered by the
times of the records. Live, records come in the order in which they arrive. So the two may differ,
and each difference is told with the cause that is found for it:

* the rule was another then, or there was none of its name, or it had just come and learned;
* records had times more than a minute from when they were read: live they count where they were
  read, here by their own time;
* something was concluded live without a source that was silent or behind, and came back later;
* records arrived late: live it was concluded when they came;
* the records of then are not kept any more.

Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from outrider.filter import Filter, Or
from outrider_alerting.durations import DAY_US, SECOND_US, compact
from outrider_alerting.kinds import CompositeRule, NewErrorRule, RatioRule, RecordRule, ScheduleRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from outrider_alerting.episodes import Key, Transition
    from outrider_alerting.kinds import Rule
    from outrider_alerting.program import Program

SAME_US: Final = 2 * SECOND_US
"""Alerts whose times differ by no more are told as the same: the engine counts in seconds."""
LATE_US: Final = 60 * SECOND_US
ODD_US: Final = 60 * SECOND_US
"""A record whose own time is further from when it was read counts, live, where it was read."""

Then = Literal["same", "other", "none"]
"""What the rule of that name was when the alert fired: this one, another, or there was none."""


class Episode(NamedTuple):
    """An alert that the rules would have raised. Event times, microseconds since 2000."""

    rule: str
    key: Key
    labels: Mapping[str, str]
    priority: str
    summary: str
    reason: str
    fired_us: int
    resolved_us: int | None


class Told(NamedTuple):
    """An alert as it fired live."""

    alert: int
    rule: str
    key: Key
    summary: str
    fired_us: int
    resolved_us: int | None
    concluded_us: int
    """When it was concluded that it fires."""
    without: tuple[str, ...]
    """Sources it was concluded without."""


class Finding(NamedTuple):
    """An alert of the back-test, of then, or of both; ``cause`` is empty where they agree."""

    would: Episode | None
    told: Told | None
    cause: str

    @property
    def alert(self) -> Episode | Told:
        """The alert: of the back-test, else the one of then."""
        one = self.would or self.told
        assert one is not None  # noqa: S101  a finding is of something
        return one


class Past(NamedTuple):
    """What is known of the time that was played."""

    versions: Sequence[tuple[int, Mapping[str, Then]]]
    """From when on each rule was what, rising; a name that is missing was no rule then."""
    odd_s: Sequence[int]
    """Seconds of records whose own time is far from when they were read, rising."""
    oldest_us: int | None
    """The oldest record that is kept; None: there is none."""
    reach_us: Mapping[str, int]
    """How far each rule looks back (:func:`reach_us`)."""
    learn_us: Mapping[str, int] = {}
    """For how long a rule that is new only learns what is known."""


def wanted(rules: Iterable[Rule]) -> Filter | None:
    """Return the filter of all records that any rule looks at; None where none looks at records."""
    filters: dict[str, Filter] = {}
    for rule in rules:
        if isinstance(rule, RatioRule):
            # What it counts are records of `of` too.
            filters[rule.of.key] = rule.of
        elif isinstance(rule, RecordRule | ScheduleRule):
            filters[rule.filter.key] = rule.filter
    if len(filters) < 2:
        return next(iter(filters.values()), None)
    node = Or(tuple(one.node for one in filters.values()))
    return Filter(node, str(node))


def needed(rules: Sequence[Rule], names: Iterable[str]) -> list[Rule]:
    """Return the named rules, and those that the composites among them ask."""
    named = {rule.name: rule for rule in rules}
    left = list(names)
    found: dict[str, Rule] = {}
    while left:
        name = left.pop()
        if name not in found and (rule := named.get(name)) is not None:
            found[name] = rule
            if isinstance(rule, CompositeRule):
                left += [*rule.all, *rule.any, *rule.none]
    return [rule for rule in rules if rule.name in found]


def learn_us(rule: Rule) -> int:
    """Return for how long a new rule only learns."""
    return rule.learn.us if isinstance(rule, NewErrorRule) else 0


def reach_us(program: Program, rule: Rule) -> int:
    """Return how much of the past a rule needs to know to conclude of a moment."""
    held_us = rule.for_.us + (rule.keep_firing_for.us if rule.keep_firing_for else 0)
    if isinstance(rule, ScheduleRule):
        return 2 * DAY_US + held_us
    seconds = 0
    if (threshold := program.thresholds.get(rule.name)) is not None:
        seconds = max(threshold.reach_s, threshold.remember_s)
    if (judgement := program.judgements.get(rule.name)) is not None:
        seconds = judgement.needs_all_s + judgement.reach_s
    return seconds * SECOND_US + held_us


def episodes(transitions: Iterable[Transition], since_us: int) -> list[Episode]:
    """Return what fired at ``since_us`` or later, in the order of firing."""
    open_: dict[tuple[str, Key], Episode] = {}
    found: dict[tuple[str, Key, int], Episode] = {}
    for t in transitions:
        address = (t.rule, t.key)
        if t.to_state == "firing" and address not in open_:
            fired_us = t.fired_us if t.fired_us is not None else t.at_us
            episode = Episode(
                t.rule, t.key, t.labels, t.priority, t.summary, t.reason, fired_us, None
            )
            open_[address] = found[*address, fired_us] = episode
        elif t.to_state == "resolved" and address in open_:
            episode = open_.pop(address)
            found[*address, episode.fired_us] = episode._replace(resolved_us=t.at_us)
    return sorted(
        (one for one in found.values() if one.fired_us >= since_us),
        key=lambda one: (one.fired_us, one.rule, one.key),
    )


def compare(would: Iterable[Episode], told: Iterable[Told], past: Past) -> list[Finding]:
    """Return every alert of either side once, in the order of firing, with what differs and why."""
    here: dict[tuple[str, Key], list[Episode]] = {}
    there: dict[tuple[str, Key], list[Told]] = {}
    for one in would:
        here.setdefault((one.rule, one.key), []).append(one)
    for other in told:
        there.setdefault((other.rule, other.key), []).append(other)
    found = [
        Finding(mine, theirs, _cause(mine, theirs, past))
        for address in here.keys() | there.keys()
        for mine, theirs in _pairs(here.get(address, []), there.get(address, []))
    ]
    return sorted(found, key=lambda one: (one.alert.fired_us, one.alert.rule, one.alert.key))


def _pairs(would: list[Episode], told: list[Told]) -> Iterator[tuple[Episode | None, Told | None]]:
    """Pair episodes of one key that were open at the same time; both sides rise in time."""
    would, told = sorted(would, key=_fired), sorted(told, key=_fired)
    i = j = 0
    while i < len(would) and j < len(told):
        mine, theirs = would[i], told[j]
        if _before(mine, theirs):
            yield mine, None
            i += 1
        elif _before(theirs, mine):
            yield None, theirs
            j += 1
        else:
            yield mine, theirs
            i, j = i + 1, j + 1
    yield from ((mine, None) for mine in would[i:])
    yield from ((None, theirs) for theirs in told[j:])


def _fired(one: Episode | Told) -> int:
    return one.fired_us


def _before(one: Episode | Told, other: Episode | Told) -> bool:
    """Tell whether one was over before the other began."""
    return one.resolved_us is not None and one.resolved_us + SAME_US < other.fired_us


def _cause(would: Episode | None, told: Told | None, past: Past) -> str:
    if would and told and abs(would.fired_us - told.fired_us) <= SAME_US:
        return ""
    one = Finding(would, told, "").alert
    then, since_us = _then(one, past)
    if then == "none" and told:
        return "its records are dated before the rule was applied"
    if then == "none":
        return "there was no rule of this name then"
    if then == "other":
        return "the rule was another then"
    if one.fired_us < since_us + past.learn_us.get(one.rule, 0):
        return "live the rule was new, and still learned what is known"
    reach_us = past.reach_us.get(one.rule, 0)
    begins_us = one.fired_us - reach_us
    if past.oldest_us is None or (would is None and begins_us < past.oldest_us):
        return "the records of then are not kept any more"
    if told and told.without:
        return f"live it was concluded without {', '.join(told.without)}, which came back later"
    if _any_between(past.odd_s, begins_us // SECOND_US, one.fired_us // SECOND_US):
        return (
            "records had times more than a minute from when they were read: live they counted "
            "where they were read"
        )
    if told and told.concluded_us - told.fired_us > LATE_US:
        late_us = (told.concluded_us - told.fired_us) // SECOND_US * SECOND_US
        return f"its records arrived late: live it was concluded {compact(late_us)} afterwards"
    return "no cause was found: records that are purged, or came in another order than their times"


def _then(one: Episode | Told, past: Past) -> tuple[Then, int]:
    """Return what the rule was when the alert fired, and since when it was that."""
    at = bisect_left(past.versions, one.fired_us + 1, key=lambda version: version[0]) - 1
    then: Then = past.versions[at][1].get(one.rule, "none") if at >= 0 else "none"
    while at > 0 and past.versions[at - 1][1].get(one.rule, "none") == then:
        at -= 1
    return then, past.versions[at][0] if at >= 0 else 0


def _any_between(seconds: Sequence[int], first: int, last: int) -> bool:
    at = bisect_left(seconds, first)
    return at < len(seconds) and seconds[at] <= last
