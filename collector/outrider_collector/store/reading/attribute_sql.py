"""Comparing a value inside attributes in SQL as :mod:`outrider.filter.attributes` does.

The type is json, never jsonb: jsonb would rewrite numbers, and a value is compared by the digits it
was written with. Texts that cannot hold what is sought are not parsed at all.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from psycopg import sql

from outrider.filter import attribute_path
from outrider.filter.attributes import NUMBER_CHARACTERS_MAX
from outrider_collector.store.reading.logic import TRUE

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg.sql import Composable

    from outrider.filter import Field

_PLAIN: Final = re.compile(r"[\w.@+ -]*", re.ASCII)

# A value as JSON numbers are written. Exponents beyond what numeric holds are brought nearer; no
# bound of a filter has more than three digits there.
_NUMBER: Final = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,5})?$"
_COMPARED: Final = sql.SQL(
    "(case when length({value}) <= {most} and {value} ~ {number}"
    " then regexp_replace({value}, '[eE]-[1-9][0-9]{{4}}$', 'e-9999')::numeric"
    " {op} {bound}::numeric"
    " else false end)"
)
_OPS: Final = {op: sql.SQL(op) for op in (">", ">=", "<", "<=")}

# Strings are compared by their characters, in whatever locale the database is.
_STRINGS: Final = sql.SQL(
    "(case when json_typeof({json}) = 'string'"
    ' then {value} collate "C" {op} {bound} collate "C" else false end)'
)

# Outside of strings, white space of a container says nothing.
_COMPACT: Final = sql.SQL(
    "case when json_typeof({json}) = 'string' then {value} else"
    """ regexp_replace({value}, '("(?:[^"\\\\]|\\\\.)*")|\\s+', '\\1', 'g') end"""
)


def attribute_condition(node: Field, parameter: Callable[[str], Composable]) -> Composable:
    """Return the condition over ``u.attributes``; never null.

    Of a regular expression it is only a necessary one: there can be a value to look into.
    """
    path = attribute_path(node.name)
    test = TRUE if node.op == "~" else _test(node, path, parameter)
    needle = _needle(node, path)
    if not needle:
        return sql.SQL("(case when u.attributes is null then false else {} end)").format(test)
    # A \\u escape could spell any character: then the text is parsed.
    return sql.SQL(
        "(case when u.attributes is null then false"
        " when strpos(u.attributes, {}) = 0 and strpos(u.attributes, '\\u') = 0 then false"
        " else {} end)"
    ).format(parameter(needle), test)


def needle_of(node: Field) -> str:
    """Return what the JSON text must have for a match, but for escapes of characters, or ""."""
    return _needle(node, attribute_path(node.name))


def attribute_held(
    node: Field, texts: Composable, parameter: Callable[[str], Composable]
) -> Composable:
    """Return a condition that holds wherever texts, joined to one, have a match in one of them."""
    needle = needle_of(node)
    if not needle:
        return TRUE
    return sql.SQL("(strpos({texts}, {needle}) > 0 or strpos({texts}, '\\u') > 0)").format(
        texts=texts, needle=parameter(needle)
    )


def _test(node: Field, path: tuple[str, ...], parameter: Callable[[str], Composable]) -> Composable:
    value, bound = _text_at(path, parameter), parameter(node.value)
    if node.quoted:
        return _STRINGS.format(
            json=_json_at(path, parameter), value=value, op=_OPS[node.op], bound=bound
        )
    if node.op != ":":
        return _COMPARED.format(
            value=value,
            most=sql.Literal(NUMBER_CHARACTERS_MAX),
            number=sql.Literal(_NUMBER),
            op=_OPS[node.op],
            bound=bound,
        )
    if node.value.startswith(("{", "[")):
        value = _COMPACT.format(json=_json_at(path, parameter), value=value)
    if node.prefix:
        return sql.SQL("coalesce(starts_with({}, {}), false)").format(value, bound)
    return sql.SQL("coalesce({} = {}, false)").format(value, bound)


def _text_at(path: tuple[str, ...], parameter: Callable[[str], Composable]) -> Composable:
    """Return the value at the nested path, else at the flat key, as text; null where absent."""
    nested = sql.SQL("u.attributes::json #>> array[{}]").format(
        sql.SQL(", ").join(map(parameter, path))
    )
    if len(path) == 1:
        return sql.SQL("({})").format(nested)
    flat = sql.SQL("u.attributes::json ->> {}").format(parameter(".".join(path)))
    return sql.SQL("coalesce({}, {})").format(nested, flat)


def _json_at(path: tuple[str, ...], parameter: Callable[[str], Composable]) -> Composable:
    """Return the same value as JSON, which tells its type."""
    steps = sql.SQL(", ").join(map(parameter, path))
    nested = sql.SQL("u.attributes::json #> array[{}]").format(steps)
    if len(path) == 1:
        return sql.SQL("({})").format(nested)
    flat = sql.SQL("u.attributes::json -> {}").format(parameter(".".join(path)))
    # A null of JSON is a value to #> and none to #>>.
    return sql.SQL("case when u.attributes::json #>> array[{}] is null then {} else {} end").format(
        steps, flat, nested
    )


def _needle(node: Field, path: tuple[str, ...]) -> str:
    """Return what the JSON text must have for the comparison to hold, or ""."""
    if node.op == ":" and node.value and _PLAIN.fullmatch(node.value):
        return node.value
    return f'"{path[0]}' if _PLAIN.fullmatch(path[0]) else ""
