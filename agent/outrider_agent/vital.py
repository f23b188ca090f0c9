"""What gets through while the collector's store is nearly full: audit records and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider import severity
from outrider.taxonomy import EVENTS, OWN_EVENTS, EventClass, says_audit

if TYPE_CHECKING:
    from outrider_agent.records import Records

_EVENTS: Final = frozenset(
    name
    for name, event in EVENTS.items()
    if event.event_class in {EventClass.AUDIT, EventClass.SECURITY}
)


def has_vital(records: Records) -> bool:
    """Return whether one of the records is of severity ERROR or above, or an audit record.

    That is one of an event of class audit or security, as the collector classifies it.
    """
    if not len(records):
        return False
    if max(records.severity) >= severity.ERROR:
        return True
    events = set(records.event)
    if not _EVENTS.isdisjoint(events):
        return True
    if not any(event is not None and event.startswith(OWN_EVENTS) for event in events):
        return False
    return any(map(says_audit, records.attributes))
