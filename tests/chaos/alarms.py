"""Whether somebody was told of each alarm, by the ledger and by the messages that arrived.

A row that is superseded was told by another one. Which one that is follows from why it was: its own
alert's end, where one message tells both, or the first row of a digest. A row that says so and
whose teller was not sent is a lie of the ledger.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider_alerting.draft import TOGETHER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import psycopg

    from tests.servers.bot_wire import Sent

_DIGEST = re.compile(r"told in the digest of A-(\d+)")
_NOTICES = """
select n.alert, n.notice, n.fate, n.provider_id, coalesce(n.why, '')
from notifications n join alerts a on a.id = n.alert
where a.rule = 'alarm' and n.channel = 'ops'
"""


@dataclass(frozen=True, slots=True)
class Notice:
    """A row of the ledger."""

    alert: int
    notice: str
    fate: str
    message: str | None
    """What the channel called the message that told it."""
    why: str = ""


def read(connection: psycopg.Connection) -> dict[tuple[int, str], Notice]:
    """Return what the ledger says of alarms, by alert and notice."""
    rows = [Notice(*row) for row in connection.execute(_NOTICES).fetchall()]
    return {(row.alert, row.notice): row for row in rows}


def teller(rows: Mapping[tuple[int, str], Notice], row: Notice) -> Notice:
    """Return the row whose message told this one; AssertionError: there is none that was sent."""
    told = row
    if told.fate == "superseded" and told.notice == "fired":
        assert told.why == TOGETHER, told
        told = rows[told.alert, "resolved"]
    if told.fate == "superseded":
        digest = _DIGEST.fullmatch(told.why)
        assert digest, told
        told = rows[int(digest[1]), told.notice]
    assert told.fate in {"sent", "unknown"}, (row, told)
    return told


def messages_about(messages: Iterable[Sent], alarm: int, kept: str | None) -> set[int]:
    """Return the messages that told an alarm: as their own, or by an edit as one of several.

    A message names ten followers and counts the rest; of those the ledger has ``kept`` which it is.
    """
    versions = list(messages)
    resolves = {m.message_id for m in versions if m.reply_to is not None}
    named = re.compile(rf"\bA-{alarm}\b")
    return {
        m.message_id
        for m in versions
        if m.message_id not in resolves
        and (
            named.search(m.text)
            or (str(m.message_id) == kept and "in the list of alerts" in m.text)
        )
    }
