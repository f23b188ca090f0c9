"""Regular expressions over stored records: RE2 answers them, beside Postgres and not in it.

Postgres's expressions are another language, and some patterns stand still there. So a filter with
expressions is asked in two steps within one snapshot. First the records that could match, whatever
its expressions say, are streamed here, and RE2 looks at them. What it found goes back as
parameters: the names (stream, stream_offset) of records or, for a field of streams, its accepted
values. With these the filter's own conditions decide, as if each expression were a column.

Much is left out before: a text that every match holds is sought by Postgres first, its words in the
filters of blocks (:func:`outrider.filter.expressions.required_texts`), and accepted services and
streams prune as named ones do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider.errors import Fault, Reason
from outrider_collector.store.reading import blocks
from outrider_collector.store.reading.filter_sql import found_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from psycopg.sql import Composable

    from outrider_collector.store.reading.conditions import Conditions, Expression
    from outrider_collector.store.reading.session import Snapshot

MOST_RECORDS: Final = 100_000
"""A slice of a search looks at blocks of about so many records before it answers."""

MOST_COUNTED: Final = 1_000_000
"""Counts and facets look at blocks of at most so many records: each costs five times as much."""

MOST_NAMES: Final = 500_000
"""One step keeps at most so many names of records."""

_BATCH: Final = 2_000

_IN_RANGE: Final = sql.SQL("""
    select * from ({records}) r
    where r.ts >= %(low)s::timestamptz and r.ts < %(high)s::timestamptz
    """)

_CANDIDATES: Final = sql.SQL(
    "select u.stream, u.stream_offset, {texts} from ({source}) u where {candidate}"
)


async def of_streams(open_snapshot: Snapshot, compiled: Conditions) -> Conditions:
    """Answer the expressions of a compiled filter about streams.

    Those over records are answered for a range, by ``answered``, before ``record`` is used. Filters
    are compiled before there is a snapshot: on a busy host that takes a while, and an open
    transaction that asks nothing is ended by the server.
    """
    answers = {
        expression.name: await _accepted_values(open_snapshot, expression)
        for expression in compiled.expressions
        if expression.of_streams
    }
    return _with(compiled, answers)


def over_records(conditions: Conditions) -> list[Expression]:
    """Return the expressions that must be looked for in records."""
    return [each for each in conditions.expressions if not each.of_streams]


def most_counted(conditions: Conditions, most_records: int) -> int:
    """Return at how many records a count may look."""
    return min(most_records, MOST_COUNTED) if over_records(conditions) else most_records


async def answered(
    open_snapshot: Snapshot, conditions: Conditions, parameters: Mapping[str, Any]
) -> Conditions:
    """Answer the expressions over records of the blocks in a range.

    ``parameters`` are those of IN_RANGE, for [low, high). Raises what ``answered_from`` does.
    """
    source = _IN_RANGE.format(
        records=blocks.records_in_range(conditions, conditions.candidate_columns)
    )
    return await answered_from(source, open_snapshot, conditions, parameters)


async def answered_from(
    source: Composable,
    open_snapshot: Snapshot,
    conditions: Conditions,
    parameters: Mapping[str, Any],
) -> Conditions:
    """Answer the expressions over records that a query yields, with ``candidate_columns``.

    Raises QUERY_TOO_LARGE (metadata: records, limit) where more are found than can be kept, and
    QUERY_TIMEOUT.
    """
    expressions = over_records(conditions)
    if not expressions:
        return conditions
    columns = list(dict.fromkeys(expression.column for expression in expressions))
    query = _CANDIDATES.format(
        texts=sql.SQL(", ").join(sql.Identifier("u", column) for column in columns),
        source=source,
        candidate=conditions.candidate,
    )
    looking = [
        _Looking(expression, 2 + columns.index(expression.column)) for expression in expressions
    ]
    batches = open_snapshot.batches(query, {**conditions.parameters, **parameters}, _BATCH)
    async for rows in batches:
        for each in looking:
            each.look(rows)
        found = sum(len(each.streams) for each in looking)
        if found > MOST_NAMES:
            raise Fault(
                Reason.QUERY_TOO_LARGE,
                detail=f"a regular expression is found in more than {MOST_NAMES:,} records: "
                "narrow the time or the filter",
                records=found,
                limit=MOST_NAMES,
            )
    return _with(conditions, {k: v for each in looking for k, v in each.answer()})


class _Looking:
    """One expression on its way through the candidates."""

    def __init__(self, expression: Expression, place: int) -> None:
        self._name = expression.name
        self._test = expression.test
        self._place = place
        self.streams: list[int] = []
        self._offsets: list[int] = []

    def look(self, rows: list[tuple[Any, ...]]) -> None:
        """Keep the names of the records in which the expression is found."""
        test, place = self._test, self._place
        for row in rows:
            if (text := row[place]) is not None and test(text):
                self.streams.append(row[0])
                self._offsets.append(row[1])

    def answer(self) -> Iterator[tuple[str, list[int]]]:
        """Yield the parameters."""
        return zip(found_names(self._name), (self.streams, self._offsets), strict=True)


async def _accepted_values(open_snapshot: Snapshot, expression: Expression) -> list[str]:
    """Return the values of a field of streams, and of gaps without one, that are accepted."""
    tables = ("stream_info",) if expression.column == "source" else ("stream_info", "gaps")
    values = sql.SQL(" union ").join(
        sql.SQL("select {} from {}").format(
            sql.Identifier(expression.column), sql.Identifier(table)
        )
        for table in tables
    )
    rows = await open_snapshot.rows(sql.SQL("select distinct * from ({}) v").format(values))
    return [value for (value,) in rows if expression.test(value)]


def _with(conditions: Conditions, answers: Mapping[str, Any]) -> Conditions:
    return replace(conditions, parameters={**conditions.parameters, **answers})
