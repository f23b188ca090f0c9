"""What could stand at the caret of a filter: fields, and values that exist, with counts. Pure.

The input stays plain text: a completion is a stretch of it to replace and the text to put there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outrider.filter import FIELDS
from outrider_dashboard import filter_text
from outrider_dashboard.facets import FIELDS as COUNTED
from outrider_dashboard.numbers import count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_collector.store.reading.types import FacetValue

MOST = 8
"""Completions shown at once."""

_FIELD = r"-?([A-Za-z_][A-Za-z0-9_]*)"
_IN_GROUP = re.compile(rf'{_FIELD}:\(([^()"]*)$')
_IN_QUOTES = re.compile(rf'{_FIELD}:"((?:[^"\\]|\\.)*)$')
_IN_VALUE = re.compile(rf'(?<!\S){_FIELD}(>=|<=|>|<|:)([^\s()":<>=]*)$')
_IN_WORD = re.compile(r"(?:^|(?<=[\s(-]))([A-Za-z_]*)$")
_WORD_END = re.compile(r'[^\s()"]*')


@dataclass(frozen=True)
class Place:
    """Where the caret stands: what was typed of which field, and the filter without that term."""

    field: str
    """Empty: the name of a field is being typed."""
    typed: str
    start: int
    end: int
    rest: str
    wildcard: bool = False
    """A ``*`` may follow what was typed."""


@dataclass(frozen=True)
class Completion:
    """One entry: what it says (``match`` was typed already), what it puts in, how often it is."""

    match: str
    text: str
    insert: str
    note: str


def place(text: str, caret: int) -> Place | None:
    """Find what is being typed at a caret (in characters), or None: nothing to complete."""
    head = text[:caret]
    if found := _IN_GROUP.search(head):
        typed = found[2].rpartition(" ")[2]
        end = _word_end(text, caret)
        closing = text.find(")", caret)
        rest = text[: found.start()] + (text[closing + 1 :] if closing >= 0 else "")
        return Place(found[1], typed, caret - len(typed), end, _tidy(rest), wildcard=True)
    if found := _IN_QUOTES.search(head):
        closing = text.find('"', caret)
        end = closing + 1 if closing >= 0 else caret
        typed = re.sub(r"\\(.)", r"\1", found[2])
        rest = text[: found.start()] + text[end:]
        return Place(found[1], typed, found.start(2) - 1, end, _tidy(rest))
    if head.count('"') % 2:
        return None
    if found := _IN_VALUE.search(head):
        end = _word_end(text, caret)
        rest = text[: found.start()] + text[end:]
        return Place(found[1], found[3], found.start(3), end, _tidy(rest), found[2] == ":")
    if found := _IN_WORD.search(head):
        end = _word_end(text, caret)
        rest = text[: found.start(1)].rstrip("-") + text[end:]
        return Place("", found[1], found.start(1), end, _tidy(rest))
    return None


def complete(at: Place, values: Sequence[FacetValue]) -> list[Completion]:
    """Return what could stand there: values that begin with what was typed before all others."""
    if not at.field:
        names = [name for name in FIELDS if name.startswith(at.typed.lower())]
        return [
            Completion(name[: len(at.typed)], name[len(at.typed) :] + ":", f"{name}:", "")
            for name in names[:MOST]
        ]
    typed = at.typed.casefold()
    severity = at.field == "severity"
    known = [(v.value.lower() if severity else v.value, v.n) for v in values]
    first = [(value, n) for value, n in known if value.casefold().startswith(typed)]
    others = [
        (value, n) for value, n in known if typed in value.casefold() and (value, n) not in first
    ]
    out = [
        Completion(value[: len(typed)], value[len(typed) :], filter_text.quoted(value), count(n))
        for value, n in first[:MOST]
    ]
    if at.wildcard and at.typed and len(first) > 1 and not severity:
        lines = sum(n for _, n in first)
        note = f"{count(lines)}, any of {len(first)}"
        stem = first[0][0][: len(typed)]
        out.append(Completion(stem, "*", f"{filter_text.quoted(stem)}*", note))
    out += [Completion("", value, filter_text.quoted(value), count(n)) for value, n in others]
    return out[: MOST + 1]


def counted(field: str) -> bool:
    """Whether values of a field are counted."""
    return field in COUNTED


def _word_end(text: str, caret: int) -> int:
    found = _WORD_END.match(text, caret)
    return found.end() if found else caret


def _tidy(text: str) -> str:
    return " ".join(text.split())
