"""What a filter says of severities. Pure.

Which levels of a block match as a whole, so that its counts by level are its matches; and below
what severity nothing matches.
"""

from __future__ import annotations

from outrider import severity
from outrider.filter import And, Field, Node, Not, Or, severity_range
from outrider_collector.store.reading.conditions import ALL_LEVELS


def levels_of(node: Node) -> frozenset[int] | None:
    """Return the levels whose counts are the matches, where service and level decide alone."""
    if isinstance(node, And):
        levels = ALL_LEVELS
        for term in node.terms:
            part = levels_of(term)
            if part is None:
                return None
            levels &= part
        return levels
    if _only(node, "service"):
        return ALL_LEVELS
    return _level_set(node) if _only(node, "severity") else None


def least_severity(node: Node) -> int:
    """Return a severity below which nothing matches; MINIMUM where none is known."""
    if isinstance(node, And):
        return max(map(least_severity, node.terms), default=severity.MINIMUM)
    if isinstance(node, Or):
        return min(map(least_severity, node.terms), default=severity.MINIMUM)
    if isinstance(node, Field) and node.name == "severity" and node.op != "~" and not node.prefix:
        return severity_range(node.op, node.value)[0]
    return severity.MINIMUM


def _only(node: Node, name: str) -> bool:
    if isinstance(node, (And, Or)):
        return all(_only(term, name) for term in node.terms)
    if isinstance(node, Not):
        return _only(node.term, name)
    return isinstance(node, Field) and node.name == name and node.op != "~"


def _level_set(node: Node) -> frozenset[int] | None:
    """Return the levels that match whole; None where a level matches in part."""
    matching = [n for n in range(1, 25) if _severity_matches(node, n)]
    levels = frozenset((n - 1) // 4 for n in matching)
    return levels if len(matching) == 4 * len(levels) else None


def _severity_matches(node: Node, number: int) -> bool:
    if isinstance(node, And):
        return all(_severity_matches(term, number) for term in node.terms)
    if isinstance(node, Or):
        return any(_severity_matches(term, number) for term in node.terms)
    if isinstance(node, Not):
        return not _severity_matches(node.term, number)
    assert isinstance(node, Field)  # noqa: S101  _only has looked at every leaf
    low, high = (1, 24) if node.prefix else severity_range(node.op, node.value)
    return low <= number <= high
