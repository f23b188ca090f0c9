"""What a batch must hold for a filter to match any of its records.

Hundreds of filters see every batch, and almost none of them matches. Asking each costs a
microsecond or two; comparing what it needs with what the batch has costs a tenth of that. Needs are
a necessary condition, never a sufficient one: what passes is then really asked.

Words are the interesting part. The words of a batch are cut out of its raw columns in one pass,
whatever the number of filters: lower-case runs of ASCII letters, digits and underscores. Anything
else separates, which makes a piece of every word that a filter could seek appear whole. A value's
length bytes stand before it and may look like letters, and so may the letter of a JSON escape, so
each run also stands without its first one and two characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from outrider.filter import And, Field, Node, Or, Phrase, Word, severity_range
from outrider.filter.text import raw_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider.columns import Columns

_Names = frozenset[str]

_SEPARATED: Final = bytes(
    byte if chr(byte).isascii() and (chr(byte).isalnum() or byte == 0x5F) else 0x20
    for byte in range(256)
)
_ATTRIBUTES: Final = "attributes."


class Needs(NamedTuple):
    """What a batch must hold; None and the empty set: nothing particular."""

    services: _Names | None = None
    severity: int = 0
    """At least one record of this severity or a higher one."""
    events: _Names | None = None
    """At least one of these events."""
    error_codes: _Names | None = None
    words: frozenset[bytes] = frozenset()
    """All of these words, somewhere."""
    plain_attributes: bool = False
    """``words`` holds only where attributes have no ``\\u`` escapes."""


def needs_of(node: Node) -> Needs:
    """Return what a batch must hold for this node to match any record."""
    if isinstance(node, And):
        return _all([needs_of(term) for term in node.terms])
    if isinstance(node, Or):
        return _any([needs_of(term) for term in node.terms])
    if isinstance(node, Word):
        return Needs(words=_pieces(node.text, whole=not node.prefix))
    if isinstance(node, Phrase):
        return Needs(words=_pieces(node.text, whole=True))
    if isinstance(node, Field):
        return _field(node)
    return Needs()


def words_of(columns: Columns, rows: Sequence[int] | None = None) -> set[bytes]:
    """Return every word that a record could be asked for, and a few more.

    ``rows`` are the records that matter; None: all of the batch.
    """
    if rows is None:
        parts = [columns.message_raw, columns.attributes_raw]
    else:
        texts = [raw_text(columns, "message_raw"), raw_text(columns, "attributes_raw")]
        parts = [text.value(row) for text in texts if text.raw for row in rows]
    for column in (columns.event, columns.error_code):
        parts.extend(value.encode("utf-8", "replace") for value in column.values)
    words = set(b" ".join(parts).lower().translate(_SEPARATED).split())
    return words | {word[1:] for word in words} | {word[2:] for word in words}


def _field(node: Field) -> Needs:
    exact = node.op == ":" and not node.prefix
    value = frozenset((node.value,)) if exact else None
    if node.name == "service":
        return Needs(services=value)
    if node.name == "event":
        return Needs(events=value)
    if node.name == "error_code":
        return Needs(error_codes=value)
    if node.name == "severity" and node.op != "~" and not node.prefix:
        return Needs(severity=severity_range(node.op, node.value)[0])
    if node.name.startswith(_ATTRIBUTES):
        words = frozenset[bytes]().union(
            *(_pieces(step, whole=True) for step in node.name.split(".")[1:] if not _is_index(step))
        )
        if node.op == ":":
            words |= _pieces(node.value, whole=not node.prefix)
        return Needs(words=words, plain_attributes=True)
    return Needs()


def _is_index(step: str) -> bool:
    return step.lstrip("-").isdecimal()


def _pieces(text: str, *, whole: bool) -> frozenset[bytes]:
    """Return the words in a text; without ``whole`` its last one may be only a beginning."""
    pieces = text.encode("utf-8", "replace").lower().translate(_SEPARATED)
    words = pieces.split()
    if not whole and words and not pieces.endswith(b" "):
        words.pop()
    return frozenset(words)


def _all(needs: list[Needs]) -> Needs:
    return Needs(
        services=_narrowest([one.services for one in needs]),
        severity=max((one.severity for one in needs), default=0),
        events=_narrowest([one.events for one in needs]),
        error_codes=_narrowest([one.error_codes for one in needs]),
        words=frozenset[bytes]().union(*(one.words for one in needs)),
        plain_attributes=any(one.plain_attributes for one in needs),
    )


def _any(needs: list[Needs]) -> Needs:
    return Needs(
        services=_widest([one.services for one in needs]),
        severity=min(one.severity for one in needs),
        events=_widest([one.events for one in needs]),
        error_codes=_widest([one.error_codes for one in needs]),
        words=needs[0].words.intersection(*(one.words for one in needs[1:])),
        plain_attributes=any(one.plain_attributes for one in needs),
    )


def _narrowest(names: list[_Names | None]) -> _Names | None:
    known = [some for some in names if some is not None]
    return min(known, key=len) if known else None


def _widest(names: list[_Names | None]) -> _Names | None:
    known = [some for some in names if some is not None]
    return frozenset[str]().union(*known) if len(known) == len(names) else None
