"""The one alert that stands for all a rule could not open, or could not even tell apart.

A rule has at most ``max_instances`` open alerts, 10,000 keys that are counted at a time, and 1,000
keys in one batch. What goes beyond is not evaluated key by key; it is one alert under the empty
key, so that a flood is told once and those that were open before it stay as they are. It ends when
nothing has gone beyond for five minutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from outrider_alerting import wording
from outrider_alerting.durations import MINUTE_US
from outrider_alerting.program import key_names
from outrider_alerting.state import Opened

if TYPE_CHECKING:
    from outrider_alerting.episodes import Key
    from outrider_alerting.kinds import Rule
    from outrider_alerting.overlay import Overlay
    from outrider_alerting.state import Address, RuleState

KEY: Final[Key] = ()
MAX_KEYS: Final = 10_000
"""Keys of one rule that are counted at a time."""

MAX_WATCHED: Final = 1_000
"""Of a rule that watches for what does not come: each key of it is looked at all the time."""

QUIET_US: Final = 5 * MINUTE_US


def hit_reason(n: int) -> str:
    """Say that a batch had too many keys."""
    return f"more than 1,000 keys in one batch; {wording.records(n)} beyond them"


def keys_reason(limit: int) -> str:
    """Say that a rule has too many keys."""
    return f"more than {limit:,} keys are counted, further ones are not told apart"


def max_keys(overlay: Overlay, rule: Rule) -> int:
    """Return how many keys of a rule are counted at a time."""
    return MAX_WATCHED if rule.name in overlay.program.judgements else MAX_KEYS


def instances_reason(limit: int) -> str:
    """Say that a rule has too many open alerts."""
    return f"more than {limit:,} alerts of this rule would be open, further ones are not opened"


def is_overflow(rule: Rule, key: Key) -> bool:
    """Tell whether this is the key of the rule's overflow alert."""
    return key == KEY and bool(key_names(rule))


def exceeded(overlay: Overlay, rule: Rule, reason: str) -> None:
    """Note that something has gone beyond a limit of the rule."""
    address = (rule.name, KEY)
    state = overlay.get(address) or overlay.new(rule)
    episode = state.episode
    if episode.state != "firing":
        after = episode.moved("lasted", overlay.now_us)
        opened = Opened(
            kind=rule.kind,
            priority=rule.priority,
            labels=wording.labels(rule, KEY) | {"overflow": "true"},
            summary=f"{rule.name}: {reason}",
            runbook=rule.runbook,
        )
        overlay.tell(address, episode, after, at_us=overlay.now_us, reason=reason, opened=opened)
        state = state.with_episode(after, opened=opened)
    overlay.put(address, msgspec.structs.replace(state, timer_us=overlay.now_us + QUIET_US))


def end(overlay: Overlay, address: Address, state: RuleState) -> None:
    """End the overflow alert when nothing has gone beyond for long enough."""
    if state.timer_us is None or state.timer_us > overlay.now_us:
        return
    blocked = (overlay.get(other) for other in overlay.active() if other[0] == address[0])
    if any(other is not None and other.blocked for other in blocked):
        later = overlay.now_us + MINUTE_US
        overlay.put(address, msgspec.structs.replace(state, timer_us=later))
        return
    before = state.episode
    after = before.moved("stayed_away", overlay.now_us)
    if after.state == "resolved" and state.opened is not None:
        reason = "nothing has gone beyond the limit for 5m"
        overlay.tell(
            address, before, after, at_us=overlay.now_us, reason=reason, opened=state.opened
        )
    overlay.put(address, None)
