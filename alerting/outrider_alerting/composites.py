"""Composite rules in a step: whether other rules fire, taken together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from outrider_alerting import wording
from outrider_alerting.durations import compact
from outrider_alerting.state import Opened

if TYPE_CHECKING:
    from outrider_alerting.episodes import Episode, Finding, Key
    from outrider_alerting.kinds import CompositeRule
    from outrider_alerting.overlay import Overlay
    from outrider_alerting.state import RuleState

KEY: Final[Key] = ()


def evaluate(overlay: Overlay, rule: CompositeRule, firing_rules: frozenset[str]) -> None:
    """Draw what the other rules' states say, after all of them were evaluated."""
    address = (rule.name, KEY)
    state = overlay.get(address) or overlay.new(rule)
    firing = [name for name in (*rule.all, *rule.any, *rule.none) if name in firing_rules]
    holds = (
        all(name in firing for name in rule.all)
        and (not rule.any or any(name in firing for name in rule.any))
        and not any(name in firing for name in rule.none)
    )
    reason = _reason(rule, firing)
    after = state
    for finding, at_us in _findings(state.episode, rule, overlay.now_us, holds=holds):
        after = _move(overlay, rule, after, finding, at_us, reason)
    episode = after.episode
    timer_us = _timer(episode, rule)
    if not episode.is_open:
        if overlay.get(address) is not None:
            overlay.put(address, None)
    elif after is not state or timer_us != state.timer_us:
        overlay.put(address, msgspec.structs.replace(after, timer_us=timer_us))


def _findings(
    episode: Episode, rule: CompositeRule, now_us: int, *, holds: bool
) -> list[tuple[Finding, int]]:
    due = _timer(episode, rule)
    found: list[tuple[Finding, int]] = []
    if due is not None and due <= now_us:
        found.append(("lasted" if episode.state == "pending" else "stayed_away", due))
    if holds and episode.state in {"inactive", "recovering"} and not found:
        waits = rule.for_.us > 0 or episode.state == "recovering"
        found.append(("holds" if waits else "lasted", now_us))
    elif not holds and episode.state in {"pending", "firing"}:
        keeps = rule.keep_firing_for is not None and rule.keep_firing_for.us > 0
        waits = episode.state == "pending" or keeps
        found.append(("ceased" if waits else "stayed_away", now_us))
    return found


def _timer(episode: Episode, rule: CompositeRule) -> int | None:
    if episode.state == "pending":
        return episode.started_us + rule.for_.us
    if episode.state == "recovering" and episode.ceased_us is not None:
        return episode.ceased_us + (rule.keep_firing_for.us if rule.keep_firing_for else 0)
    return None


def _move(
    overlay: Overlay, rule: CompositeRule, state: RuleState, finding: Finding, at_us: int, why: str
) -> RuleState:
    before = state.episode
    after = before.moved(finding, at_us)
    if after is before:
        return state
    opened = state.opened
    if opened is None or finding == "lasted":
        opened = Opened(
            kind=rule.kind,
            priority=rule.priority,
            labels=wording.labels(rule, KEY),
            summary=wording.composite_summary(rule, why),
            runbook=rule.runbook,
        )
    if finding == "stayed_away" and before.state == "recovering":
        why = f"not so for {compact(at_us - (before.ceased_us or at_us))}"
    overlay.tell((rule.name, KEY), before, after, at_us=at_us, reason=why, opened=opened)
    return state.with_episode(after.over(), opened=opened if after.is_open else None)


def _reason(rule: CompositeRule, firing: list[str]) -> str:
    quiet = [name for name in (*rule.all, *rule.any) if name not in firing]
    said = f"{', '.join(firing)} fire{'s' if len(firing) == 1 else ''}" if firing else "none fires"
    return f"{said}, not {', '.join(quiet)}" if firing and quiet else said
