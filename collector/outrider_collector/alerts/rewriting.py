"""Edits of messages that were sent: who looks after what they tell. An edit makes no sound."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from outrider_alerting import telling
from outrider_alerting.channels.build import Outlet
from outrider_alerting.channels.channel import Editable, Message
from outrider_collector.alerts.messages import episode, told

if TYPE_CHECKING:
    from outrider_alerting.channels.outcome import Outcome
    from outrider_collector.store.outdated import Outdated

_log = logging.getLogger(__name__)


async def rewrite(outlet: Outlet | Outcome, outdated: Outdated, *, buttons: bool) -> None:
    """Let a message say how things are now; nothing depends on whether that works."""
    if not isinstance(outlet, Outlet) or not isinstance(outlet.channel, Editable):
        return
    try:
        await outlet.channel.refresh(_as_it_is(outdated, buttons=buttons))
    except msgspec.ValidationError as error:
        _log.warning("a message of channel %s is left as it reads: %s", outdated.channel, error)
    except Exception:  # noqa: BLE001  the border to code that may be anybody's
        _log.exception("channel %s failed to edit a message", outdated.channel)


def _as_it_is(outdated: Outdated, *, buttons: bool) -> Message:
    shown = outdated.shown
    now = telling.together(told(shown.parts), shown.total)
    return Message(
        notification=0,
        alert=shown.alert or 0,
        episode=episode(shown) or "",
        notice="",
        content=now,
        created_us=0,
        firing_provider_id=shown.provider_id,
        firing_now=now,
        address=outdated.address,
        buttons=buttons,
    )
