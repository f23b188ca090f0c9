"""Rules that cost too much: frozen, and said to be.

A frozen rule is not asked of any record and not evaluated. Its alerts stay as they are, marked
stale: that nothing is counted is no reason to end them. One built-in alert for each frozen rule
tells why, and ends when the rules are applied again; then an end needs a whole window of what is
counted anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from outrider_alerting import built_in
from outrider_alerting.episodes import Episode, StaleChange
from outrider_alerting.kinds import top_priority
from outrider_alerting.state import Opened, RuleState

if TYPE_CHECKING:
    from outrider_alerting.frozen import Frozen
    from outrider_alerting.kinds import Rule
    from outrider_alerting.overlay import Overlay
    from outrider_alerting.state import Address

RULE: Final = built_in.FROZEN
ADVICE: Final = "make its filter or its windows smaller and apply the rules again"
SUBJECT: Final = "frozen:"
"""What the state of such an alert is about; that of a rule's key never is."""


def begin(overlay: Overlay) -> None:
    """Tell of each rule that is frozen now and was not."""
    for name, frozen in sorted(overlay.program.frozen.items()):
        rule = overlay.program.rules.get(name)
        if rule is not None and overlay.get((RULE, (name,))) is None:
            _tell(overlay, rule, frozen)


def _tell(overlay: Overlay, rule: Rule, frozen: Frozen) -> None:
    priority = top_priority(rule)
    opened = Opened(
        kind=built_in.KIND,
        priority=priority,
        labels={"rule": RULE, "kind": built_in.KIND, "priority": priority, "frozen": rule.name},
        summary=f"rule {rule.name} is frozen and alerts nobody: {frozen.why}; {ADVICE}",
    )
    address = (RULE, (rule.name,))
    before = Episode()
    after = before.moved("lasted", frozen.since_us)
    overlay.tell(address, before, after, at_us=frozen.since_us, reason=frozen.why, opened=opened)
    overlay.put(address, RuleState(subject=SUBJECT).with_episode(after, opened=opened))


def adopt(overlay: Overlay, address: Address, state: RuleState) -> None:
    """End what was told of a rule that is not frozen any more."""
    (name,) = address[1]
    if name in overlay.program.frozen:
        return
    gone = name not in overlay.program.rules
    before = state.episode
    after = before.moved("withdrawn", overlay.now_us)
    reason = "the rule was deleted" if gone else "the rules were applied again"
    if state.opened is not None:
        overlay.tell(
            address, before, after, at_us=overlay.now_us, reason=reason, opened=state.opened
        )
    overlay.put(address, None)


def freeze(overlay: Overlay, address: Address, state: RuleState) -> None:
    """Leave a key of a frozen rule as it is; nobody can tell when its alert would end."""
    if state.episode.is_open and not state.stale:
        overlay.put(address, msgspec.structs.replace(state, stale=True))
        rule, key = address
        overlay.stale.append(StaleChange(rule=rule, key=key, stale=True, since_us=None))
