"""The class of a record: what kind it is, hence how long it is kept.

An event of the catalogue decides: ops, security and audit. An event of the user's own (``app.*``)
is of class audit where ``outrider.audit()`` wrote the record: its attributes say so. All other
records are ``debug`` below INFO, else ``app``. So an audit record is kept as one whatever its
severity.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from outrider import severity
from outrider.taxonomy import EVENTS, OWN_EVENTS, EventClass, says_audit

if TYPE_CHECKING:
    from collections.abc import Sequence


class RecordClass(IntEnum):
    """Numbers as in column ``class``; they never change."""

    DEBUG = 0
    APP = 1
    OPS = 2
    SECURITY = 3
    AUDIT = 4

    @property
    def label(self) -> str:
        """Its name in configuration and in the names of partitions."""
        return self.name.lower()


Retention = Mapping[RecordClass, timedelta]
"""How long the records of each class are kept at least, counted from their arrival."""


# Only events that decide; app.* and unknown names are left to the severity.
_BY_EVENT: Final[Mapping[bytes | None, RecordClass]] = {
    event.name.encode(): RecordClass[event.event_class.name]
    for event in EVENTS.values()
    if event.event_class is not EventClass.APP
}
_BY_SEVERITY: Final = [
    RecordClass.DEBUG if number < severity.INFO else RecordClass.APP for number in range(256)
]
_OWN_EVENTS: Final = OWN_EVENTS.encode()


def classes_of(
    events: Sequence[bytes | None] | None,
    severities: bytes,
    attributes: Sequence[bytes | None] | None = None,
) -> list[RecordClass]:
    """Return the class of each record; None for a column: no record has a value."""
    by_severity = [_BY_SEVERITY[number] for number in severities]
    if events is None:
        return by_severity
    # An event that is None is in no table, as an unknown one.
    classes = [
        _BY_EVENT.get(event, other) for event, other in zip(events, by_severity, strict=True)
    ]
    own = {event for event in set(events) if event is not None and event.startswith(_OWN_EVENTS)}
    if own and attributes is not None:
        for place, event in enumerate(events):
            if event in own and says_audit(attributes[place]):
                classes[place] = RecordClass.AUDIT
    return classes
