"""Comparing a value inside a record's attributes.

Attributes are JSON objects. A value is compared by its text as JSON has it: a string without
quotes, a number with the digits it was written with, ``true`` and ``false``; an object or array by
its JSON text. ``>`` and its kin compare numbers: a JSON number, or a string that reads as one; with
a quoted bound they compare strings, character by character. Null is the same as absent.
"""

from __future__ import annotations

import json
import operator
import re
from bisect import bisect_right
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from outrider.filter.leaves import Undecided, value_test
from outrider.filter.syntax import Field, attribute_path
from outrider.filter.text import RawText, raw_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from outrider.columns import Columns


class _Verbatim(str):
    """Text that stands in JSON as it is: a number by the digits it was written with."""

    __slots__ = ()


_decode = json.JSONDecoder(
    parse_float=_Verbatim, parse_int=_Verbatim, parse_constant=_Verbatim, strict=False
).decode
_encode = json.JSONEncoder(ensure_ascii=False).encode

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip

_PLAIN = re.compile(r"[\w.@+ -]*", re.ASCII)
_INDEX = re.compile(r"-?[0-9]{1,9}")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,5})?")


NUMBER_CHARACTERS_MAX = 1000
"""A longer text is no number to ``>`` and its kin, here and in SQL."""


def number(text: str) -> Decimal | None:
    """Return the number that a text is in JSON's form, or None."""
    if len(text) > NUMBER_CHARACTERS_MAX or not _JSON_NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def look_up(attributes: Any, path: tuple[str, ...], *, strings: bool = False) -> str | None:
    """Return the text of the value at the nested path, else at the flat key, else None.

    With ``strings`` only a JSON string is a value.
    """
    value = attributes
    for step in path:
        value = _step(value, step)
    if value is None and len(path) > 1:
        value = _step(attributes, ".".join(path))
    if strings and type(value) is not str:
        return None
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return _json_text(value)


def _step(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and _INDEX.fullmatch(step):
        place = int(step)
        return value[place] if -len(value) <= place < len(value) else None
    return None


def _json_text(value: Any) -> str:
    """Return a container as compact JSON, with numbers as they were written.

    Never recursive: what the parser has read can be nested deeper than our stack has room for.
    """
    texts: list[str] = []
    unfinished: list[Iterator[Any]] = [_pieces(value)]
    while unfinished:
        for piece in unfinished[-1]:
            if isinstance(piece, (dict, list)):
                unfinished.append(_pieces(piece))
                break
            texts.append(piece if isinstance(piece, _Verbatim) else _encode(piece))
        else:
            unfinished.pop()
    return "".join(texts)


def _pieces(container: Any) -> Iterator[Any]:
    """Yield what a container's JSON is made of, the values within as they are."""
    is_object = isinstance(container, dict)
    yield _Verbatim("{" if is_object else "[")
    for place, item in enumerate(container):
        if place:
            yield _Verbatim(",")
        if is_object:
            yield item
            yield _Verbatim(":")
            yield container[item]
        else:
            yield item
    yield _Verbatim("}" if is_object else "]")


class AttributePredicate(Undecided):
    """``attributes.PATH`` compared with a value."""

    __slots__ = ("_accepts", "_needle", "_numbers", "_path", "_strings", "cost")

    def __init__(self, node: Field) -> None:
        self._path = attribute_path(node.name)
        self._accepts = attribute_test(node)
        self._needle = _needle(node, self._path)
        self._strings = node.quoted
        orders_numbers = node.op not in {":", "~"} and not node.quoted
        self._numbers = _numbers(self._path) if orders_numbers else None
        self.cost = 5

    def rows(self, columns: Columns, among: Sequence[int]) -> list[int]:
        """Return the rows whose attribute is accepted, parsing as few as possible."""
        raw = columns.attributes_raw
        if not raw:
            return []
        parsed = _parsed(columns)
        needle = self._needle
        # A \\u escape could spell any character: then every record is parsed.
        if needle and b"\\u" not in raw:
            if needle not in raw:
                return []
            among = self._likely(raw_text(columns, "attributes_raw"), among)
        return [row for row in among if self._match(columns, parsed, row)]

    def _likely(self, column: RawText, among: Sequence[int]) -> list[int]:
        """Return the rows whose bytes allow a match, most of which are one."""
        places, raw = column.places(), column.raw
        if self._numbers is None:
            find, needle = raw.find, self._needle
            return [row for row in among if find(needle, places[row], places[row + 1] - 4) >= 0]
        hits = {
            bisect_right(places, match.start()) - 1
            for match in self._numbers.finditer(raw)
            if self._accepts(match[1].decode())
        }
        return [row for row in among if row in hits]

    def _match(self, columns: Columns, parsed: dict[int, Any], row: int) -> bool:
        if row not in parsed:
            parsed[row] = parse_attributes(columns.attributes[row])
        value = look_up(parsed[row], self._path, strings=self._strings)
        return value is not None and self._accepts(value)


def _parsed(columns: Columns) -> dict[int, Any]:
    parsed: dict[int, Any] = columns.cache.setdefault("parsed_attributes", {})
    return parsed


def parse_attributes(text: str | None) -> Any:
    """Return the parsed JSON, numbers as texts; None where there is none or it cannot be read."""
    if not text:
        return None
    try:
        return _decode(text)
    except (ValueError, RecursionError):
        return None


def attribute_test(node: Field) -> Callable[[str], bool]:
    """Return the test that the comparison makes of a value's text."""
    if node.op in {":", "~"}:
        return value_test(node)
    compare, bound = _ORDERS[node.op], node.value
    if node.quoted:
        return lambda text: compare(text, bound)
    number_bound = Decimal(bound)
    return lambda text: (n := number(text)) is not None and compare(n, number_bound)


def _numbers(path: tuple[str, ...]) -> re.Pattern[bytes] | None:
    """Return what finds numbers under the key that the path ends in; None where that is unsure."""
    keys = [path[-1], ".".join(path)]
    if _INDEX.fullmatch(path[-1]) or not all(map(_PLAIN.fullmatch, keys)):
        return None
    either = "|".join(map(re.escape, keys))
    return re.compile(rf'"(?:{either})"\s*:\s*"?(-?[0-9][0-9.eE+-]*)'.encode())


def _needle(node: Field, path: tuple[str, ...]) -> bytes:
    """Return bytes that a record's JSON must have for the comparison to hold; b"" for unknown."""
    if node.op == ":" and node.value and _PLAIN.fullmatch(node.value):
        return node.value.encode()
    # The first step begins both the nested path and the flat key.
    return f'"{path[0]}'.encode() if _PLAIN.fullmatch(path[0]) else b""
