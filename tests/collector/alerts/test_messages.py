"""What the ledger says a message names is what its readers find in it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from outrider_alerting import telling
from outrider_alerting.channels.telegram_text import render_plain
from outrider_collector.alerts.messages import message_of, named
from outrider_collector.store.outbox import Claim
from outrider_collector.store.shown import Part, Shown
from tests.alerting.deciding import NOW
from tests.alerting.limiting import alert

if TYPE_CHECKING:
    from outrider_alerting.ledger import Alert

ALERTS = st.lists(
    st.tuples(st.text(max_size=400), st.booleans(), st.sampled_from(["", "anna"])),
    min_size=1,
    max_size=30,
)


def _part(one: Alert, acknowledged: str, *, over: bool) -> Part:
    content = msgspec.to_builtins(telling.firing(one, NOW))
    return Part(content, over, acknowledged)


@given(ALERTS, st.integers(0, 29))
def test_who_is_said_to_be_named_stands_in_the_text(
    told: list[tuple[str, bool, str]], joined: int
) -> None:
    """Whatever they are called and however many there are; all others of several are counted."""
    parts = [
        _part(alert(number, summary=summary, labels={"worker": summary}), by, over=over)
        for number, (summary, over, by) in enumerate(told, 1)
    ]
    first_own = min(joined, len(parts) - 1)
    before, own = parts[:first_own], parts[first_own:]
    shown = Shown("7", 1, None, before, len(before), len(before)) if before else None
    claim = Claim(
        id=1, alert=1, notice="fired", channel="ops", conversation="ops",
        created_at=datetime(2026, 1, 1, tzinfo=UTC), age_s=1.0, episode_started_at=None,
        attempts=1, unknown=0, cut_short=0, firing_provider_id=None, delivered=[], address=None,
        joins="7" if before else None, attempt_ids=[1], parts=own, joined=shown,
        channel_type="telegram",
    )  # fmt: skip
    message = message_of(claim)
    text = render_plain(message)
    names = named(claim)

    if names is None:
        assert len(own) == 1 and not before
        return
    assert len(names) == min(len(parts), 1 + telling.MAX_DIGEST)
    assert all(re.search(rf"\bA-{name}\b", text) for name in names)
    several = Claim(**{f: getattr(claim, f) for f in claim.__slots__} | {"channel_type": "webhook"})
    assert named(several) == names | {int(part.alert[2:]) for part in message.parts}
