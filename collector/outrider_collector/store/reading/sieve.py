"""Passing over blocks that have no filter for what is sought, by looking into them beside Postgres.

A part of a word, a regular expression and whatever is not compacted yet are found by reading. Where
that is much, the texts of blocks are streamed here as Postgres stores them, and a block in which
what every match holds is nowhere is not opened: it costs Postgres a third of looking itself, and
the other two thirds are done here at the same time. Lowering a text is what Postgres is slowest at.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from psycopg import sql

from outrider.filter import And, Field, Or, Phrase, Regex, Word
from outrider.filter.expressions import in_any_case, required_texts
from outrider.filter.syntax import ATTRIBUTES
from outrider_collector.store.reading import blocks
from outrider_collector.store.reading.attribute_sql import needle_of
from outrider_collector.store.reading.logic import TRUE, all_of, any_of, none_of
from outrider_collector.store.reading.word_sql import ascii_needle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from outrider.filter import Node
    from outrider_collector.store.reading.conditions import Conditions
    from outrider_collector.store.reading.session import Snapshot

LEAST_RECORDS: Final = 30_000
"""Fewer are opened at once."""
FRESH_FOR: Final = timedelta(hours=2)
"""Where filters are asked, so long before now blocks without one are expected."""

_MOST_LETTERS: Final = 32
"""Of a long word the beginning is looked for: it is as rare, and costs less to prepare."""

Texts = dict[str, bytes]
"""Of a block: all texts of each column, one after another, with some bytes between them."""
Test = Callable[[Texts], bool]
"""Whether texts can hold a match."""

# The first row is no block. It makes the client library's buffer large, which never shrinks: what
# has arrived is then taken over at once, where 16 KB a turn would cost more than looking into it.
_TEXTS: Final = sql.SQL("""
    select 0::bigint, '', convert_to(repeat(' ', 262144), 'UTF8'){nothing}
    union all
    select b.partition::bigint, b.block::text, {texts} from {blocks} where {opened}
    """)
_TEXT: Final = sql.SQL("coalesce(array_send({}), '')")
_WITHOUT_FILTER: Final = sql.SQL("(b.class is null)")
_SIEVED: Final = sql.SQL("""
    ((b.partition, b.block) in (
        select partition::oid, block::tid
        from unnest(%(sieved_partitions)s::bigint[], %(sieved_blocks)s::text[])
            as sieved(partition, block))) is true
    """)


class Sieve(NamedTuple):
    """What a filter says of all texts of a block."""

    columns: tuple[str, ...]
    test: Test


def worth_it(conditions: Conditions, records: int, high: datetime, now: datetime) -> bool:
    """Tell whether to sieve before about so many records of before ``high`` are opened."""
    if conditions.sieve is None or records < LEAST_RECORDS:
        return False
    # Where a filter is asked, only what is not compacted yet is left: it is of the last hours.
    return not conditions.filtered or high > now - FRESH_FOR


def compile_sieve(node: Node, word_columns: Sequence[str]) -> Sieve | None:
    """Return the sieve for a filter; None where texts as a whole tell nothing."""
    compiler = _Compiler(word_columns)
    test = compiler.test(node)
    return None if test is None else Sieve(tuple(sorted(compiler.columns)), test)


class _Compiler:
    def __init__(self, word_columns: Sequence[str]) -> None:
        self._word_columns = word_columns
        self.columns: set[str] = set()

    def test(self, node: Node) -> Test | None:
        if isinstance(node, And):
            known = [test for test in map(self.test, node.terms) if test is not None]
            return partial(_all, known) if known else None
        if isinstance(node, Or):
            tests = [self.test(term) for term in node.terms]
            known = [test for test in tests if test is not None]
            return partial(_any, known) if len(known) == len(tests) else None
        if isinstance(node, (Word, Phrase)):
            return self._held(self._word_columns, ascii_needle(node.text), lowered=True)
        if isinstance(node, Regex):
            return self._all_held("message", node.pattern)
        if isinstance(node, Field) and node.name.startswith(ATTRIBUTES):
            return self._attribute(node)
        return None

    def _held(self, columns: Sequence[str], needle: str, *, lowered: bool) -> Test | None:
        if not needle:
            return None
        self.columns.update(columns)
        if lowered:
            return partial(_held, tuple(columns), in_any_case(needle[:_MOST_LETTERS]))
        return partial(_held, tuple(columns), partial(_contains, needle.encode()))

    def _all_held(self, column: str, pattern: str) -> Test | None:
        tests = [self._held((column,), text, lowered=False) for text in required_texts(pattern)]
        known = [test for test in tests if test is not None]
        return partial(_all, known) if known else None

    def _attribute(self, node: Field) -> Test | None:
        found = self._held(("attributes",), needle_of(node), lowered=False)
        escaped = self._held(("attributes",), "\\u", lowered=False)
        return partial(_any, [found, escaped]) if found and escaped else None


def _contains(sought: bytes, text: bytes) -> bool:
    return sought in text


def _held(columns: tuple[str, ...], found: Callable[[bytes], bool], texts: Texts) -> bool:
    return any(texts[column] and found(texts[column]) for column in columns)


def _all(tests: list[Test], texts: Texts) -> bool:
    return all(test(texts) for test in tests)


def _any(tests: list[Test], texts: Texts) -> bool:
    return any(test(texts) for test in tests)


async def sieved(
    open_snapshot: Snapshot, conditions: Conditions, parameters: Mapping[str, Any]
) -> tuple[Conditions, bool]:
    """Return the conditions for the blocks of a range that can hold a match, looked into here.

    And whether one of those that were looked into can. ``parameters`` are those of IN_RANGE. Raises
    QUERY_TIMEOUT.
    """
    sieve = conditions.sieve
    if sieve is None:
        return conditions, True
    unsure = _WITHOUT_FILTER if conditions.filtered else TRUE
    source = blocks.opened_in_range(conditions)
    query = _TEXTS.format(
        nothing=sql.SQL(", ''::bytea") * (len(sieve.columns) - 1),
        texts=sql.SQL(", ").join(_TEXT.format(sql.Identifier("b", name)) for name in sieve.columns),
        blocks=source.blocks,
        opened=all_of([source.opened, unsure]),
    )
    holding: list[tuple[int, str]] = []
    lacking: set[tuple[int, str]] = set()
    asked = {**conditions.parameters, **parameters}
    async with aclosing(open_snapshot.stream(query, asked)) as found:
        async for partition, block, *texts in found:
            if not partition:
                continue
            if sieve.test(dict(zip(sieve.columns, texts, strict=True))):
                holding.append((partition, block))
            else:
                lacking.add((partition, block))
    if conditions.named:
        left = blocks.without(conditions.parameters, lacking)
        parameters = {**conditions.parameters, **left}
        return replace(conditions, sieve=None, parameters=parameters), bool(holding)
    looked_into = replace(
        conditions,
        block=all_of([conditions.block, any_of([none_of(unsure), _SIEVED])]),
        sieve=None,
        parameters={
            **conditions.parameters,
            "sieved_partitions": [partition for partition, _ in holding],
            "sieved_blocks": [block for _, block in holding],
        },
    )
    return looked_into, bool(holding)
