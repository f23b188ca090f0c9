"""Why a filter finds nobody who still writes: mistyped names, or workers that have ended. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider.configuration import suggest
from outrider.filter import And, Field, Node, Not, Or, comparisons
from outrider.filter.leaves import value_test
from outrider_collector.store.reading.completeness import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from outrider_collector.store.reading.types import Worker

_NAMES: Final = ("service", "worker", "host")
_ENDED: Final = {"dead", "retired"}
SHOWN: Final = 10
"""A sentence names at most so many; the rest is counted."""


def explain(node: Node, workers: Sequence[Worker], now: datetime) -> str:
    """Say why no file that is still written to belongs to the filter; one sentence or two."""
    if not workers:
        return "No worker has reported yet: 'outrider agent check' says what an agent here follows."
    left = list(workers)
    for name, asked in _asked(node).items():
        found = [one for one in left if any(_is(getattr(one, name), term) for term in asked)]
        if not found:
            elsewhere = _belongs_to(name, asked, workers)
            return elsewhere or _unknown(name, asked, [getattr(one, name) for one in left])
        left = found
    near, test = left, _may_belong(node)
    left = [one for one in near if test(one) is not False]
    if not left:
        return f"No worker belongs to the filter, none of: {_listed([_called(w) for w in near])}."
    running = [one for one in left if one.state not in _ENDED]
    if running:
        # Of a worker's streams, a source or number may have left out those that are written to.
        narrow = any(field.name in {"source", "stream"} for field in comparisons(node))
        what = "Nothing that the filter asks for" if narrow else "Nothing"
        return f"{what} is being written by {_listed([_called(one) for one in running])}."
    last = sorted(left, key=lambda one: one.since, reverse=True)
    ends = [f"{_called(one)} at {moment(one.since, now)} ({one.reason})" for one in last]
    return f"Nothing more comes, its workers have ended: {_listed(ends)}."


def _may_belong(node: Node) -> Callable[[Worker], bool | None]:
    """Compile a filter to what a worker's names decide: True, False or, by them alone, neither."""
    if isinstance(node, (And, Or)):
        tests = [_may_belong(term) for term in node.terms]
        decides = isinstance(node, Or)  # one term of this verdict decides for all
        return lambda worker: _joined({test(worker) for test in tests}, decides=decides)
    if isinstance(node, Not):
        inner = _may_belong(node.term)
        return lambda worker: None if (verdict := inner(worker)) is None else not verdict
    if isinstance(node, Field) and node.name in _NAMES:
        name, accepts = node.name, value_test(node)
        return lambda worker: accepts(getattr(worker, name))
    return lambda _: None


def _joined(verdicts: set[bool | None], *, decides: bool) -> bool | None:
    if decides in verdicts:
        return decides
    return None if None in verdicts else not decides


def _asked(node: Node) -> dict[str, list[Field]]:
    """Return what each of service, worker and host must be; alternatives stand together."""
    asked: dict[str, list[Field]] = {}
    for term in node.terms if isinstance(node, And) else (node,):
        choices = term.terms if isinstance(term, Or) else (term,)
        fields = [one for one in choices if isinstance(one, Field) and one.op == ":"]
        names = {one.name for one in fields}
        if len(fields) == len(choices) and len(names) == 1:
            asked.setdefault(names.pop(), fields)
    return {name: asked[name] for name in _NAMES if name in asked}


def _is(value: str, term: Field) -> bool:
    return value.startswith(term.value) if term.prefix else value == term.value


def _belongs_to(name: str, asked: list[Field], workers: Sequence[Worker]) -> str:
    """Say which other field has the name that was asked for; empty where none has."""
    for other in _NAMES:
        values = {getattr(one, other) for one in workers}
        for term in asked:
            if other != name and not term.prefix and term.value in values:
                return f"`{term.value}` is a {other}, no {name}: write {other}:{term.value}."
    return ""


def _unknown(name: str, asked: list[Field], known: Sequence[str]) -> str:
    names = sorted(set(known))
    words = " or ".join(f"`{term.value}{'*' if term.prefix else ''}`" for term in asked)
    near = suggest(asked[0].value, names)
    hint = f": did you mean `{near}`? There are" if near else "; there are"
    return f"No {name} {words} is known{hint}: {_listed(names)}."


def _called(worker: Worker) -> str:
    return f"{worker.service}/{worker.worker}@{worker.host}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
