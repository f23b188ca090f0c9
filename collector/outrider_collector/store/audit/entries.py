"""Which records are audit rows, and what of their attributes becomes columns.

A record is one by its event: those of the catalogue that are of class audit or security. What a
worker does all day is one only where ``outrider.audit()`` wrote the record: events of orders,
positions and strategies, and the user's own (``app.*``). A row costs about seven times what a
record in a block does (27 us beside 4, collector and Postgres together), and a bot's thousand
orders a second are a log, kept as long; what somebody must answer for is said to be so. Whether a
batch has any row is seen from its few distinct events and one search, so other batches cost next to
nothing.

Attributes are hostile: whatever they are, the row is written, and they stand in it as they came.
Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from outrider.columns import unpack_bytes
from outrider.taxonomy import EVENTS, OWN_EVENTS, EventClass, says_audit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from outrider.columns import Columns
    from outrider_collector.store.claim import PendingBatch

_CLASSES: Final = {
    event.name: event.event_class.value
    for event in EVENTS.values()
    if event.event_class in {EventClass.AUDIT, EventClass.SECURITY}
}
_WORK: Final = ("order.", "position.", "strategy.", OWN_EVENTS)
"""How events begin that are audit rows only where the record says so."""


class Said(NamedTuple):
    """What a record's attributes say of an act; None: nothing."""

    actor: str | None = None
    target: str | None = None
    outcome: str | None = None
    reason: str | None = None
    before: str | None = None
    """JSON, as ``after``."""
    after: str | None = None
    audit_id: int | None = None
    """The row of an act that was written already, by the transaction of the act."""


class Entry(NamedTuple):
    """A record that is an audit row too."""

    batch: PendingBatch
    columns: Columns
    place: int
    """Of the record among the columns."""
    audit_class: str
    event: str
    message: bytes | None
    attributes: bytes | None
    trace_id: bytes | None
    correlation_id: bytes | None
    error_code: str | None
    said: Said


def entries(stored: Iterable[tuple[PendingBatch, Columns]]) -> Iterator[Entry]:
    """Yield the audit rows among records that are stored, in their order."""
    for batch, columns in stored:
        if _may_have_any(columns):
            yield from _entries_of(batch, columns)


def _may_have_any(columns: Columns) -> bool:
    names = [
        name for name in columns.event.values if name in _CLASSES or name.startswith(OWN_EVENTS)
    ]
    if all(name.startswith(_WORK) for name in names):
        return bool(names) and says_audit(columns.attributes_raw)
    return True


def _entries_of(batch: PendingBatch, columns: Columns) -> Iterator[Entry]:
    n = columns.n
    attributes = unpack_bytes(columns.attributes_raw, n)
    classes = [
        _class_of(event, said)
        for event, said in zip(columns.event.texts(n), attributes, strict=True)
    ]
    if not any(classes):
        return
    messages = unpack_bytes(columns.message_raw, n)
    trace_ids = unpack_bytes(columns.trace_id_raw, n)
    correlation_ids = unpack_bytes(columns.correlation_id_raw, n)
    events, error_codes = columns.event.texts(n), columns.error_code.texts(n)
    for place, audit_class in enumerate(classes):
        if audit_class is not None:
            yield Entry(
                batch,
                columns,
                place,
                audit_class,
                events[place] or "",
                messages[place],
                attributes[place],
                trace_ids[place],
                correlation_ids[place],
                error_codes[place],
                said_in(attributes[place]),
            )


def _class_of(event: str | None, attributes: bytes | None) -> str | None:
    if event is None:
        return None
    if event.startswith(_WORK):
        return EventClass.AUDIT.value if says_audit(attributes) else None
    return _CLASSES.get(event)


# ------------------------------------------------------------------ attributes


_ABSENT: Final = msgspec.Raw()


class _Attributes(msgspec.Struct):
    """Only what has a column is looked at, and only as far as its end."""

    actor: msgspec.Raw = _ABSENT
    target: msgspec.Raw = _ABSENT
    outcome: msgspec.Raw = _ABSENT
    reason: msgspec.Raw = _ABSENT
    before: msgspec.Raw = _ABSENT
    after: msgspec.Raw = _ABSENT
    audit_id: msgspec.Raw = _ABSENT


_DECODER: Final = msgspec.json.Decoder(_Attributes)
_ID: Final = msgspec.json.Decoder(int)
_TEXT: Final = msgspec.json.Decoder(str)


def said_in(attributes: bytes | None) -> Said:
    """Read the attributes of a record; what cannot be read says nothing."""
    try:
        found = _DECODER.decode(attributes or b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return Said()
    return Said(
        actor=_text(found.actor),
        target=_text(found.target),
        outcome=_text(found.outcome),
        reason=_text(found.reason),
        before=_json(found.before),
        after=_json(found.after),
        audit_id=_id(found.audit_id),
    )


def _text(raw: msgspec.Raw) -> str | None:
    """Return a string's text; of any other value its JSON."""
    if raw is _ABSENT:
        return None
    try:
        return _TEXT.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _json(raw)


def _json(raw: msgspec.Raw) -> str | None:
    if raw is _ABSENT:
        return None
    text = bytes(raw).decode("utf-8", "replace")
    return None if text == "null" else text


def _id(raw: msgspec.Raw) -> int | None:
    if raw is _ABSENT:
        return None
    try:
        number = _ID.decode(raw)
    except msgspec.DecodeError:
        return None
    return number if 0 < number < 2**63 else None
