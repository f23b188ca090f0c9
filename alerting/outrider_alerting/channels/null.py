"""A channel that leads nowhere: what reaches it has gone the whole way through Outrider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_alerting.channels.leaving import StaysError, at_once
from outrider_alerting.channels.outcome import Retry, Sent

if TYPE_CHECKING:
    from outrider_alerting.channels.channel import Message
    from outrider_alerting.channels.leaving import Leave
    from outrider_alerting.channels.outcome import Outcome


class NullChannel:
    """Accepts everything."""

    async def send(self, message: Message, leave: Leave = at_once) -> Outcome:
        """Say that it arrived."""
        try:
            await leave()
        except StaysError as error:
            return Retry(str(error))
        return Sent(str(message.notification))

    async def close(self) -> None:
        """There is nothing to close."""
