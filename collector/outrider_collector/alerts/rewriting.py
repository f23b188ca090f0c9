"""Edits of messages that were sent: how things are by now. An edit makes no sound."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec

from outrider_alerting import telling
from outrider_alerting.channels.build import Outlet
from outrider_alerting.channels.channel import Editable, Message
from outrider_alerting.channels.outcome import Failed, Outcome, Retry, Sent, Unknown
from outrider_collector.alerts.messages import episode, told
from outrider_collector.store.outdated import Edited

if TYPE_CHECKING:
    from outrider_collector.store.outdated import Outdated

_log = logging.getLogger(__name__)


async def rewrite(outlet: Outlet | Outcome, outdated: Outdated, *, buttons: bool) -> Outcome:
    """Try once to let a message say how things are now."""
    if not isinstance(outlet, Outlet):
        return outlet
    if not isinstance(outlet.channel, Editable):
        return Failed("the channel cannot edit")
    try:
        return await outlet.channel.refresh(_as_it_is(outdated, buttons=buttons))
    except msgspec.ValidationError as error:
        return Failed(f"this version cannot read what was said: {error}")
    except Exception as error:  # noqa: BLE001  the border to code that may be anybody's
        _log.exception("channel %s failed to edit a message", outdated.channel)
        return Unknown(f"bug in the channel: {type(error).__name__}")


def edited(message: Outdated, outcome: Outcome) -> Edited:
    """Say what an outcome means for the edit that is owed."""
    match outcome:
        case Sent():
            return Edited(message, reads_right=True)
        case Retry():
            return Edited(message, reads_right=None, reason=outcome.reason, after_s=outcome.after_s)
        case Unknown():
            # An edit that arrives twice reads the same.
            return Edited(message, reads_right=None, reason=outcome.reason)
        case Failed():
            return Edited(message, reads_right=False, reason=outcome.reason)


def _as_it_is(outdated: Outdated, *, buttons: bool) -> Message:
    shown = outdated.shown
    return Message(
        notification=0,
        alert=shown.alert or 0,
        episode=episode(shown) or "",
        notice="",
        content=telling.together(told(shown.parts), shown.total, still_open=shown.still_open),
        created_us=0,
        joins=shown.provider_id,
        address=outdated.address,
        buttons=buttons,
    )
