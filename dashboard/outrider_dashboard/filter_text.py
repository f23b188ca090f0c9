"""Edits of a filter's text: add, take out and toggle terms without touching the rest. Pure.

Facets and the plus and minus of a field change the words in the input, so that a person sees what a
click did and can change it on. Only terms at the top level are edited: what stands in brackets or
under OR was put there by hand and stays as it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from outrider.filter import EXPRESSION

SEVERITIES = ("trace", "debug", "info", "warn", "error", "fatal")

_FIELD = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)(>=|<=|>|<|:|=)")
_VALUE = re.compile(rf'{EXPRESSION.pattern}|"(?:\\.|[^"\\])*"\*?|[^\s()]+')
_BARE = re.compile(r"[^\s()\"'*:<>=/\\-][^\s()\"*:<>=]*")


@dataclass(frozen=True)
class Term:
    """One top-level term: where it stands and what it says."""

    start: int
    end: int
    field: str
    operator: str
    value: str
    excluded: bool


def quoted(value: str) -> str:
    """Write a value so that the filter language reads it as it is."""
    if _BARE.fullmatch(value) and value.upper() not in {"OR", "AND", "NOT"}:
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def terms(text: str) -> list[Term]:
    """Split a filter into its top-level terms; empty where OR at the top joins them."""
    found: list[Term] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        end = _end_of_term(text, position)
        word = text[position:end]
        if word.upper() == "OR":
            return []
        if word.upper() != "AND":
            found.append(_term(word, position, end))
        position = end
    return found


def selected(text: str, field: str) -> list[str]:
    """Return the whole values that the filter asks of a field: its positive top-level terms."""
    return [_unquoted(value) for value in asked(text, field) if not _is_pattern(value)]


def asked(text: str, field: str) -> list[str]:
    """Return what the filter asks of a field, as it is written: values and patterns."""
    found: list[str] = []
    for term in terms(text):
        if term.field != field or term.excluded:
            continue
        if field == "severity":
            found.extend(_severities(term))
        elif term.operator in {":", "="}:
            found.extend(_values(term.value))
    return found


def _is_pattern(value: str) -> bool:
    return value.endswith("*") or EXPRESSION.fullmatch(value) is not None


def without(text: str, field: str) -> str:
    """Take out all positive top-level terms of a field."""
    return _cut(text, [t for t in terms(text) if t.field == field and not t.excluded])


def with_term(text: str, term: str) -> str:
    """Append a term, in brackets around what is there if OR joins it."""
    text = text.strip()
    if not text:
        return term
    there = terms(text)
    if any(text[t.start : t.end] == term for t in there):
        return text
    if not there:
        text = f"({text})"
    return f"{text} {term}"


def milder(text: str) -> tuple[str, str] | None:
    """Lower a top-level ``severity>=`` by one step: the new text and the new term, or None."""
    for term in terms(text):
        name = term.value.lower()
        lowers = term.field == "severity" and term.operator == ">=" and not term.excluded
        if lowers and name in SEVERITIES[1:]:
            lower = f"severity>={SEVERITIES[SEVERITIES.index(name) - 1]}"
            return text[: term.start] + lower + text[term.end :], lower
    return None


def toggled(text: str, field: str, value: str) -> str:
    """Switch one value of a field on or off, as a facet's checkbox does. Patterns stay."""
    values = asked(text, field)
    others = [v for v in values if _is_pattern(v) or _unquoted(v) != value]
    values = others if len(others) < len(values) else [*values, quoted(value)]
    rest = without(text, field)
    return with_term(rest, _one_of(field, values)) if values else rest


def _one_of(field: str, values: list[str]) -> str:
    if field == "severity":
        ladder = [s for s in SEVERITIES if s in values]
        from_lowest = list(SEVERITIES[SEVERITIES.index(ladder[0]) :])
        if len(ladder) > 1 and ladder == from_lowest:
            return f"severity>={ladder[0]}"
    if len(values) == 1:
        return f"{field}:{values[0]}"
    return f"{field}:({' OR '.join(values)})"


def _severities(term: Term) -> list[str]:
    name = term.value.lower()
    if term.operator in {":", "="}:
        return [_unquoted(v).lower() for v in _values(term.value)]
    if name not in SEVERITIES:
        return []
    at = SEVERITIES.index(name)
    ranges = {
        ">=": SEVERITIES[at:],
        ">": SEVERITIES[at + 1 :],
        "<=": SEVERITIES[: at + 1],
        "<": SEVERITIES[:at],
    }
    return list(ranges[term.operator])


def _values(text: str) -> list[str]:
    if text.startswith("(") and text.endswith(")"):
        return [v[0] for v in _VALUE.finditer(text[1:-1]) if v[0].upper() != "OR"]
    return [text]


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text


def _end_of_term(text: str, start: int) -> int:
    depth = 0
    position = start
    while position < len(text):
        character = text[position]
        if character == '"':
            closing = _end_of_quote(text, position)
            position = closing
            continue
        if character == "/" and (position == start or text[position - 1] in "-(: \t\r\n"):
            expression = EXPRESSION.match(text, position)
            if expression:
                position = expression.end()
                continue
        if character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character.isspace() and depth <= 0:
            break
        position += 1
    return position


def _end_of_quote(text: str, start: int) -> int:
    position = start + 1
    while position < len(text) and text[position] != '"':
        position += 2 if text[position] == "\\" else 1
    return min(len(text), position + 1)


def _term(word: str, start: int, end: int) -> Term:
    excluded = word.startswith("-") and len(word) > 1
    body = word[1:] if excluded else word
    match = _FIELD.match(body)
    if match is None:
        return Term(start, end, "", "", body, excluded)
    return Term(start, end, match[1], match[2], body[match.end() :], excluded)


def _cut(text: str, out: list[Term]) -> str:
    for term in reversed(out):
        text = text[: term.start].rstrip() + " " + text[term.end :].lstrip()
    return text.strip()
