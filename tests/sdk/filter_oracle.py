"""The filter language once more, record by record and as plainly as can be.

Nothing here is shared with the predicate but the tree; words are found by walking over characters.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from outrider import severity
from outrider.filter import And, Field, Node, Not, Or, Phrase, Regex, Word


@dataclass(frozen=True)
class Record:
    """One record with the fields of its stream."""

    service: str = "payments"
    worker: str = "w1"
    host: str = "h1"
    source: str = "inbox"
    stream: int = 7
    severity: int = 9
    message: str | None = None
    attributes: dict[str, Any] | None = None
    logger: str | None = None
    event: str | None = None
    error_code: str | None = None
    trace_id: str | None = None
    correlation_id: str | None = None
    attributes_text: str | None = field(default=None)

    def json(self) -> str | None:
        """The attributes as their JSON text."""
        if self.attributes_text is not None:
            return self.attributes_text
        if self.attributes is None:
            return None
        return json.dumps(self.attributes, ensure_ascii=False, separators=(",", ":"))


def matches(node: Node, record: Record) -> bool:
    """Tell whether the record matches the tree."""
    if isinstance(node, And):
        return all(matches(term, record) for term in node.terms)
    if isinstance(node, Or):
        return any(matches(term, record) for term in node.terms)
    if isinstance(node, Not):
        return not matches(node.term, record)
    if isinstance(node, (Word, Phrase)):
        prefix = isinstance(node, Word) and node.prefix
        texts = [(record.message, False), (record.event, False), (record.error_code, False),
                 (record.json(), True)]  # fmt: skip
        return any(has_word(t, node.text, prefix=prefix, json=json) for t, json in texts if t)
    if isinstance(node, Regex):
        return record.message is not None and found(node.pattern, record.message)
    assert isinstance(node, Field)
    return field_matches(node, record)


def found(pattern: str, text: str) -> bool:
    """Search with Python's engine, for patterns that mean the same in both."""
    return re.search(pattern.replace("$", r"\Z"), text, re.ASCII) is not None


def lower(character: str) -> str:
    """One character in lower case, unless that would be longer or turn it into ASCII."""
    low = character.lower()
    return low if len(low) == 1 and (character.isascii() or not low.isascii()) else character


def has_word(text: str, word: str, *, prefix: bool, json: bool) -> bool:
    """Tell whether the word stands somewhere in the text."""
    inside = [lower(c) for c in text]
    sought = [lower(c) for c in word]
    for start in range(len(inside) - len(sought) + 1):
        end = start + len(sought)
        if inside[start:end] != sought:
            continue
        before = inside[start - 1] if start else ""
        escaped = json and start >= 2 and inside[start - 2] == "\\" and before in "nrtbf"
        if is_word(sought[0]) and before and is_word(before) and not escaped:
            continue
        after = inside[end] if end < len(inside) else ""
        if is_word(sought[-1]) and not prefix and after and is_word(after):
            continue
        return True
    return False


def is_word(character: str) -> bool:
    """A letter, a digit or an underscore."""
    return character.isalnum() or character == "_"


def field_matches(node: Field, record: Record) -> bool:
    """Tell whether the comparison holds."""
    if node.name == "severity":
        return node.prefix or severity_matches(node, record.severity)
    if node.name.startswith("attributes."):
        value = attribute(record.attributes, node.name.removeprefix("attributes.").split("."))
    else:
        value = getattr(record, node.name)
        value = None if value is None else str(value)
    if value is None:
        return False
    if node.op == "~":
        return found(node.value, value)
    if node.quoted:
        return is_string(record, node) and {
            ">": value > node.value, ">=": value >= node.value,
            "<": value < node.value, "<=": value <= node.value,
        }[node.op]  # fmt: skip
    if node.op == ":":
        return value.startswith(node.value) if node.prefix else value == node.value
    try:
        number = json.loads(value, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, InvalidOperation):
        return False
    if not isinstance(number, Decimal) or value != value.strip():
        return False
    bound = Decimal(node.value)
    return {
        ">": number > bound, ">=": number >= bound, "<": number < bound, "<=": number <= bound,
    }[node.op]  # fmt: skip


def severity_matches(node: Field, number: int) -> bool:
    """Compare by the group for a name, by the number for a number."""
    if node.value.isdigit():
        low = high = int(node.value)
    else:
        low = severity.NAMES.index(node.value.upper()) * 4 + 1
        high = low + 3
    return {
        ":": low <= number <= high, ">=": number >= low, ">": number > high,
        "<=": number <= high, "<": number < low,
    }[node.op]  # fmt: skip


def attribute(attributes: dict[str, Any] | None, path: list[str]) -> str | None:
    """The text of a value, nested or under the flat key."""
    value = looked_up(attributes, path)
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def is_string(record: Record, node: Field) -> bool:
    """Whether the value compared is a JSON string."""
    path = node.name.removeprefix("attributes.").split(".")
    return isinstance(looked_up(record.attributes, path), str)


def looked_up(attributes: dict[str, Any] | None, path: list[str]) -> Any:
    """The value, nested or under the flat key."""
    if attributes is None:
        return None
    value: Any = attributes
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.lstrip("-").isdigit():
            place = int(step)
            value = value[place] if -len(value) <= place < len(value) else None
        else:
            value = None
    if value is None:
        value = attributes.get(".".join(path))
    return value
