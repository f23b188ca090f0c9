"""The event catalogue: names that mean the same in every worker, ``category.action``.

An event is a record with a name from this catalogue. The name decides the record's class (how long
it is kept, and whether it is part of the audit trail) and its severity where the caller gives none.

The catalogue is add-only: a name is never renamed, removed or moved, and new actions are appended,
for an event's number is its category's number times 1,000 plus the place of its action. The
category ``app`` is open: ``app.anything`` is a name of the user's own. A name that is neither in
the catalogue nor of category ``app`` is never a reason to lose a record: it becomes
``app.unclassified`` and the caller's name is kept beside it.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from outrider import severity

VERSION = "1.1.0"
"""Version of the catalogue: the second number rises with each addition."""

UNCLASSIFIED = "app.unclassified"

OWN_EVENTS = "app."
"""How the names of the user's own events begin."""

MAX_NAME_LENGTH = 64


class EventClass(StrEnum):
    """What kind of record it is, for retention and audit."""

    APP = "app"
    OPS = "ops"
    SECURITY = "security"
    AUDIT = "audit"


class Event(NamedTuple):
    """One entry of the catalogue."""

    name: str
    number: int
    event_class: EventClass
    severity: int
    """OpenTelemetry number used where the caller names none."""


class Checked(NamedTuple):
    """What a name came to."""

    event: Event
    original: str | None
    """The caller's name where it is not in the catalogue, else None."""


# One category: number, name, class, then its actions in the order of their numbers. A mark after an
# action is its severity: `!` error, `?` warning, none information. An indented line continues.
_CATALOGUE = """
1 system ops: started stopped draining upgraded clock_skewed? disk_low? memory_high?
2 worker ops: registered started ready heartbeat stalled! recovered stopping stopped crashed!
    killed! died! lost! restarted?
3 job ops: scheduled started progressed succeeded failed! retried? skipped? missed! timed_out!
    cancelled?
4 order audit: created denied? submitted accepted rejected? amended amend_rejected?
    cancel_requested cancelled cancel_rejected? triggered partially_filled filled
    fill_corrected? expired outcome_unknown! reconciled
5 position audit: opened changed closed liquidated! margin_called? limit_breached!
6 strategy audit: enabled disabled signalled halted? resumed parameter_changed
7 exchange ops: connected disconnected? status_changed maintenance_announced? rate_limited?
    banned! data_stale? data_gap?
8 auth security: login_succeeded login_failed? logout token_issued token_refreshed token_revoked
    mfa_changed denied?
9 user audit: created updated role_changed disabled deleted exported
10 config audit: loaded changed rejected? secret_rotated flag_changed
11 database ops: connected disconnected? migrated slow_query? deadlocked! replication_lagged?
    backup_succeeded backup_failed!
12 network ops: connected disconnected? timed_out? tls_failed! dns_failed?
13 api ops: called failed! throttled? validated_bad?
14 health ops: passed warned? failed! recovered expired? changed sampled
15 alert audit: fired? deduplicated silenced acknowledged escalated? resolved notify_sent
    notify_failed! unsilenced notify_tested
16 audit audit: exported verified verification_failed! retention_applied held released erased?
17 pipeline ops: connected spooled throttled? dropped? gap_found! rejected? quarantined!
    caught_up
18 ui ops: error_shown? viewed action_taken
99 app app: unclassified
"""

_MARKS = {"!": severity.ERROR, "?": severity.WARN}


def _read_catalogue(text: str) -> dict[str, Event]:
    events: dict[str, Event] = {}
    for row in text.replace("\n    ", " ").split("\n"):
        head, _, actions = row.partition(": ")
        if not head:
            continue
        number, category, event_class = head.split()
        for place, action in enumerate(actions.split(), start=1):
            name = f"{category}.{action.rstrip('!?')}"
            level = _MARKS.get(action[-1], severity.INFO)
            code = int(number) * 1000 + place
            events[name] = Event(name, code, EventClass(event_class), level)
    return events


EVENTS: dict[str, Event] = _read_catalogue(_CATALOGUE)
"""Every catalogued event by name."""

_APP_NAME = re.compile(r"app\.[a-z0-9_]+")


_SAYS_AUDIT = re.compile(rb'"class"\s*:\s*"audit"')


def says_audit(attributes: bytes | None) -> bool:
    """Tell whether attributes are those that ``outrider.audit()`` writes.

    A record of an event of the user's own is part of the audit trail where they are.
    """
    return attributes is not None and _SAYS_AUDIT.search(attributes) is not None


def check(name: str) -> Checked:
    """Find ``name`` in the catalogue; an unknown one becomes ``app.unclassified``, never an error.

    ``app.<lower_snake>`` is accepted as it is, with the number of ``app.unclassified``.
    """
    event = EVENTS.get(name)
    if event is not None:
        return Checked(event, None)
    unclassified = EVENTS[UNCLASSIFIED]
    if len(name) <= MAX_NAME_LENGTH and _APP_NAME.fullmatch(name):
        return Checked(unclassified._replace(name=name), None)
    return Checked(unclassified, name)
