"""Copies of records inside JSON documents: evidence of alerts, messages about them. Pure.

A copy is an object with ``stream``, ``stream_offset`` and ``message``. What is erased of it is the
message; when and where it was stays, as it does in the gap row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Copy = dict[str, Any]

ERASED: Final = "[erased]"


def copies(document: Any) -> Iterator[Copy]:
    """Yield every copy of a record that is not erased yet."""
    if isinstance(document, list):
        for part in document:
            yield from copies(part)
    elif isinstance(document, dict):
        if isinstance(document.get("message"), str) and name_of(document) is not None:
            if document["message"] != ERASED:
                yield document
            return
        for part in document.values():
            yield from copies(part)


def name_of(copy: Copy) -> tuple[int, int] | None:
    """Return stream and offset of the record; None where the object is no copy."""
    stream, offset = copy.get("stream"), copy.get("stream_offset")
    if isinstance(stream, int) and isinstance(offset, int):
        return stream, offset
    return None


def erase(document: Any, is_erased: Callable[[Copy], bool]) -> int:
    """Erase the copies that are to go, in place; returns how many."""
    gone = [copy for copy in copies(document) if is_erased(copy)]
    for copy in gone:
        copy["message"] = ERASED
    return len(gone)
