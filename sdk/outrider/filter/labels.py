"""A filter's tree compiled to a predicate over labels, as alerts have them.

A label is a name and a text. A word is sought in every label's text; ``priority`` compares by its
ladder (info, warning, critical), ``severity`` by its numbers, any other label with ``>`` and its
kin as a number, or as a text where the bound is quoted. A label that is missing or empty makes a
comparison false.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider import severity
from outrider.filter.attributes import attribute_test
from outrider.filter.expressions import expression_test
from outrider.filter.folding import fold, word_pattern
from outrider.filter.syntax import (
    ATTRIBUTES,
    PRIORITIES,
    And,
    Field,
    Node,
    Not,
    Or,
    Phrase,
    Regex,
    Word,
    severity_range,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def compile_labels(node: Node) -> Callable[[Mapping[str, str]], bool]:
    """Compile a tree to a test of labels."""
    if isinstance(node, (And, Or)):
        tests = [compile_labels(term) for term in node.terms]
        fold_all = all if isinstance(node, And) else any
        return lambda labels: fold_all(test(labels) for test in tests)
    if isinstance(node, Not):
        test = compile_labels(node.term)
        return lambda labels: not test(labels)
    if isinstance(node, (Word, Phrase)):
        prefix = isinstance(node, Word) and node.prefix
        search = word_pattern(node.text, prefix=prefix).search
        return lambda labels: any(search(fold(value)) for value in labels.values())
    if isinstance(node, Regex):
        found = expression_test(node.pattern)
        return lambda labels: any(map(found, labels.values()))
    if isinstance(node, Field):
        name, accepts = node.name.removeprefix(ATTRIBUTES), _label_test(node)
        return lambda labels: bool(value := labels.get(name, "")) and accepts(value)
    raise TypeError(f"not a node of a filter: {node!r}")


def _label_test(node: Field) -> Callable[[str], bool]:
    if node.name == "severity" and node.op != "~" and not node.prefix:
        low, high = severity_range(node.op, node.value)
        return lambda text: low <= (severity.parse(text) or 0) <= high
    if node.name == "priority" and node.op not in {":", "~"}:
        return _priority_test(node)
    return attribute_test(node)


def _priority_test(node: Field) -> Callable[[str], bool]:
    bound = PRIORITIES.index(node.value)
    accepted = {
        ">": PRIORITIES[bound + 1 :],
        ">=": PRIORITIES[bound:],
        "<": PRIORITIES[:bound],
        "<=": PRIORITIES[: bound + 1],
    }[node.op]
    return lambda text: text in accepted
