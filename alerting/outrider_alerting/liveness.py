"""Liveness rules in a step: states of components into transitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from outrider_alerting import components, overflow, wording
from outrider_alerting.components import ComponentState
from outrider_alerting.program import key_names
from outrider_alerting.state import Opened, RuleState

if TYPE_CHECKING:
    from outrider_alerting.kinds import ComponentRule
    from outrider_alerting.overlay import Overlay
    from outrider_alerting.state import Address


def observe(overlay: Overlay, seen: ComponentState) -> None:
    """Take note of a component's state, for every liveness rule that looks at it."""
    for rule in overlay.program.components:
        if not seen.concerns(rule):
            continue
        address = (rule.name, seen.key())
        known = overlay.get(address)
        if known is None and seen.state not in rule.states:
            continue
        state = known or overlay.new(rule)
        if state.episode.is_open or overlay.may_open(rule):
            fresh = msgspec.structs.replace(state, blocked=False)
            _store(overlay, rule, address, *components.observed(fresh, rule, seen))
        elif seen.state in rule.states:
            blocked = msgspec.structs.replace(
                state, blocked=True, found=seen.state, reason=seen.reason, started_us=seen.since_us
            )
            overlay.put(address, blocked)
            overflow.exceeded(overlay, rule, overflow.instances_reason(rule.max_instances))
        elif seen.state != "unknown":
            overlay.put(address, None)


def elapse(overlay: Overlay, rule: ComponentRule, address: Address, state: RuleState) -> None:
    """Draw what only needed time to pass, or a place to become free."""
    if state.blocked:
        if not overlay.may_open(rule):
            return
        seen = _as_seen(rule, address, state)
        _store(overlay, rule, address, *components.observed(overlay.new(rule), rule, seen))
        state = overlay.get(address) or overlay.new(rule)
    after, moves = components.elapsed(state, rule, overlay.now_us)
    if moves:
        _store(overlay, rule, address, after, moves)


def _as_seen(rule: ComponentRule, address: Address, state: RuleState) -> ComponentState:
    names = dict(zip(key_names(rule), address[1], strict=False))
    return ComponentState(
        component_kind=rule.of,
        component=names.get("agent", "") or names.get("component", ""),
        service=names.get("service", ""),
        worker=names.get("worker", ""),
        host=names.get("host", ""),
        state=state.found,
        since_us=state.started_us,
        reason=state.reason,
    )


def _store(
    overlay: Overlay,
    rule: ComponentRule,
    address: Address,
    state: RuleState,
    moves: list[components.Move],
) -> None:
    opened = state.opened
    for move in moves:
        if opened is None or move.finding in {"holds", "lasted"}:
            opened = Opened(
                kind=rule.kind,
                priority=rule.priority,
                labels=wording.labels(rule, address[1]) | {"state": move.found},
                summary=wording.liveness_summary(rule, address[1], move.found, move.why),
                runbook=rule.runbook,
            )
        overlay.tell(
            address,
            move.before,
            move.after,
            at_us=move.at_us,
            reason=move.reason,
            opened=opened,
        )
        if not move.after.is_open:
            opened = None
    if state.episode.is_open:
        overlay.put(address, msgspec.structs.replace(state, opened=opened))
    else:
        overlay.put(address, None)
