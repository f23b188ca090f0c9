"""What the state of one component says about one rule.

Liveness is decided elsewhere, by the database's clock; here a state is a fact with a time. States
are told at every change and all together now and then, so telling one twice changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from outrider_alerting.durations import compact

if TYPE_CHECKING:
    from outrider_alerting.episodes import Episode, Finding, Key
    from outrider_alerting.kinds import ComponentRule
    from outrider_alerting.state import RuleState


class ComponentState(msgspec.Struct, frozen=True, kw_only=True):
    """A component's state as ``system_health`` has it; told at every change.

    With a new rule set, all of them are told: telling one twice changes nothing.
    """

    component_kind: str
    """``worker``, ``agent``, or what else is looked after."""
    component: str
    service: str = ""
    worker: str = ""
    host: str = ""
    state: str
    since_us: int
    reason: str = ""

    def key(self) -> Key:
        """Return its key under a rule (``program.key_names``)."""
        if self.component_kind == "worker":
            return (self.service, self.worker, self.host)
        if self.component_kind == "agent":
            return (self.host, self.component)
        return (self.component, self.host)

    def concerns(self, rule: ComponentRule) -> bool:
        """Tell whether the rule looks at this component."""
        if self.component_kind != rule.of:
            return False
        named = {"service": self.service, "worker": self.worker, "host": self.host}
        named["component"] = self.component
        return rule.filter is None or rule.filter.match_labels(named)


class Move(NamedTuple):
    """One finding that moved the episode."""

    finding: Finding
    before: Episode
    after: Episode
    at_us: int
    reason: str
    found: str
    """The component's state, and why."""
    why: str


def observed(
    state: RuleState, rule: ComponentRule, seen: ComponentState
) -> tuple[RuleState, list[Move]]:
    """Return the state after a component was seen, and the moves."""
    moves: list[Move] = []
    episode = state.episode
    if seen.state == "unknown":
        # Nobody could look; that says nothing about the component.
        return state, moves
    holds = seen.state in rule.states
    if holds == (episode.state in {"pending", "firing"}):
        # As before, or another of the rule's states (silent, then dead): the same alert goes on.
        return _with(state, episode, rule, seen.state, seen.reason), moves
    # What had lasted long enough by the time of this change has fired, whenever we look.
    episode, due = _due(episode, state, rule, seen.since_us)
    moves.extend(due)
    found, why = seen.state, seen.reason
    if holds:
        finding: Finding = "holds" if rule.for_.us or episode.state == "recovering" else "lasted"
        text = f"{found}: {why}" if why else found
    else:
        keep = rule.keep_firing_for is not None and rule.keep_firing_for.us > 0
        waits = episode.state == "pending" or (keep and found != "retired")
        finding = "ceased" if waits else "stayed_away"
        text = f"{found} now" if not why else f"{found} now: {why}"
    after = episode.moved(finding, seen.since_us)
    if after is not episode:
        moves.append(Move(finding, episode, after, seen.since_us, text, found, why))
    return _with(state, after.over(), rule, found, why), moves


def elapsed(state: RuleState, rule: ComponentRule, now_us: int) -> tuple[RuleState, list[Move]]:
    """Return the state after what only needed time to pass, and the moves."""
    episode, moves = _due(state.episode, state, rule, now_us)
    return _with(state, episode, rule, state.found, state.reason), moves


def _due(
    episode: Episode, state: RuleState, rule: ComponentRule, now_us: int
) -> tuple[Episode, list[Move]]:
    at = _timer(episode, rule)
    if at is None or at > now_us:
        return episode, []
    finding: Finding = "lasted" if episode.state == "pending" else "stayed_away"
    after = episode.moved(finding, at)
    if finding == "lasted":
        text = f"{state.found} for {compact(rule.for_.us)}"
        text = f"{text}: {state.reason}" if state.reason else text
    else:
        text = f"{state.found} for {compact(at - (episode.ceased_us or at))}"
    return after.over(), [Move(finding, episode, after, at, text, state.found, state.reason)]


def _timer(episode: Episode, rule: ComponentRule) -> int | None:
    if episode.state == "pending":
        return episode.started_us + rule.for_.us
    if episode.state == "recovering" and episode.ceased_us is not None:
        return episode.ceased_us + (rule.keep_firing_for.us if rule.keep_firing_for else 0)
    return None


def _with(
    state: RuleState, episode: Episode, rule: ComponentRule, found: str, reason: str
) -> RuleState:
    return msgspec.structs.replace(
        state,
        phase=episode.state,
        started_us=episode.started_us,
        fired_us=episode.fired_us,
        ceased_us=episode.ceased_us,
        timer_us=_timer(episode, rule),
        found=found if episode.is_open else "",
        reason=reason if episode.is_open else "",
    )
