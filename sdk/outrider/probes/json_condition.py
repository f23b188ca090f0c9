"""A condition on a JSON document, in the filter language: ``attrs.status:ok attrs.queue<100``.

Paths, comparisons and texts mean what they mean for a record's attributes; only ``attributes.PATH``
(short: ``attrs.PATH``) can be asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outrider.filter import And, Field, FilterError, Node, Not, Or, attribute_path, parse
from outrider.filter.attributes import attribute_test, look_up, parse_attributes
from outrider.filter.syntax import ATTRIBUTES

if TYPE_CHECKING:
    from collections.abc import Callable


def condition(text: str) -> Callable[[Any], bool]:
    """Return the test of a parsed document (:func:`document`). Raises ValueError."""
    try:
        return _test(parse(text).node)
    except FilterError as error:
        raise ValueError(str(error)) from None


def document(text: str) -> Any:
    """Parse a JSON document; None where it is none."""
    return parse_attributes(text)


def _test(node: Node) -> Callable[[Any], bool]:
    if isinstance(node, (And, Or)):
        tests = [_test(term) for term in node.terms]
        fold = all if isinstance(node, And) else any
        return lambda value: fold(test(value) for test in tests)
    if isinstance(node, Not):
        test = _test(node.term)
        return lambda value: not test(value)
    if isinstance(node, Field) and node.name.startswith(ATTRIBUTES):
        path, accepts, strings = attribute_path(node.name), attribute_test(node), node.quoted
        return lambda value: (
            (found := look_up(value, path, strings=strings)) is not None and accepts(found)
        )
    raise ValueError("a condition compares attrs.PATH with a value, such as attrs.status:ok")
