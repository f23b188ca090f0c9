"""Passing over blocks whose filters lack a word, by sheets: a few short reads for hundreds.

Which blocks of a range a sheet leaves out is asked by one statement of the page's snapshot; the
page's own statement then asks the filters of the others. So an answer is the same with and without
sheets, and a block that no sheet names costs what it did. What a sheet is says
:mod:`~outrider_collector.store.compaction.sheets`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider_collector.store.compaction import bloom, sheets
from outrider_collector.store.reading.blocks import IN_RANGE, Source
from outrider_collector.store.reading.logic import TRUE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from psycopg.sql import Composable

    from outrider_collector.store.reading.conditions import Conditions
    from outrider_collector.store.reading.session import Snapshot

MOST_TOKENS: Final = 2
"""Of a word or phrase, the rarest: its others are asked of the blocks' own filters."""

_SLICES: Final = sql.SQL("""
    select s.id, cardinality(s.ids), array(
        select substr(s.slices, 1 + (place & (8 * s.filter_bytes - 1))::integer * s.slice_bytes,
                      s.slice_bytes)
        from unnest(%(sheet_places)s::bigint[]) with ordinality as sought(place, number)
        order by number)
    from block_sheets s
    where s.team = any(%(teams)s::integer[])
      and s.ts_max >= %(low)s::timestamptz and s.ts_min < %(high)s::timestamptz
    """)

# The rows of unnest are guessed to be few, so that the ids are hashed and not searched one by one.
_NOT_LEFT_OUT: Final = sql.SQL("""
    ((b.id in (
        select named.id
        from unnest({sheets}::uuid[], {bits}::bytea[]) as asked(sheet, bits)
        join block_sheets s on s.id = asked.sheet
        cross join lateral unnest(s.ids) with ordinality as named(id, number)
        where get_byte(asked.bits, ((named.number - 1) >> 3)::integer)
              & (128 >> ((named.number - 1) & 7)::integer) = 0)) is not true)
    """)


LEAST_RANGE: Final = timedelta(minutes=10)
"""The filters of fewer blocks are asked at once. Most pages are full before."""

_EACH: Final = sql.SQL("(select * from blocks b where {}) b").format(IN_RANGE)
# OFFSET 0: above all tables at once, so that what sheets leave out is hashed once and not by table.
_TOGETHER: Final = sql.SQL("(select * from blocks b where {} offset 0) b").format(IN_RANGE)
_OPENED: Final = sql.SQL("case when {sheets} then ({block}) else false end")


def asked(conditions: Conditions, *, by_sheets: bool) -> Source:
    """Return the blocks of a range, and which of them can hold a match."""
    if not by_sheets:
        return Source(_EACH, sql.SQL("({})").format(conditions.block))
    opened = _OPENED.format(sheets=conditions.sheets, block=conditions.block)
    return Source(_TOGETHER, opened)


def not_left_out(group: int) -> Composable:
    """Return the condition that no sheet says of block ``b`` that it lacks the group's tokens."""
    return _NOT_LEFT_OUT.format(
        sheets=sql.Placeholder(_sheets(group)), bits=sql.Placeholder(_bits(group))
    )


async def left_out(
    open_snapshot: Snapshot, conditions: Conditions, parameters: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return what sheets say of the blocks of a range: the parameters of ``conditions.sheets``.

    ``parameters`` are those of IN_RANGE. None: there is no sheet that could leave a block out, or
    the range is too short to ask.
    """
    if conditions.sheets == TRUE or parameters["high"] - parameters["low"] < LEAST_RANGE:
        return None
    groups = [_places(tokens) for tokens in conditions.sought]
    asked = {**parameters, "sheet_places": [place for group in groups for place in group]}
    rows = await open_snapshot.rows(_SLICES, asked)
    answers: dict[str, Any] = {}
    useful = False
    for group, span in enumerate(_spans(groups)):
        said = [(sheet, blocks, sheets.in_all(slices[span])) for sheet, blocks, slices in rows]
        said = [each for each in said if not sheets.has_every_block(each[2], each[1])]
        answers[_sheets(group)] = [sheet for sheet, _, _ in said]
        answers[_bits(group)] = [bits for _, _, bits in said]
        useful |= bool(said)
    return answers if useful else None


def _places(tokens: Sequence[bytes]) -> list[int]:
    return [place for token in tokens[:MOST_TOKENS] for place in bloom.places(token)]


def _spans(groups: Sequence[Sequence[int]]) -> Iterator[slice]:
    begin = 0
    for group in groups:
        yield slice(begin, begin + len(group))
        begin += len(group)


def _sheets(group: int) -> str:
    return f"sheets_{group}"


def _bits(group: int) -> str:
    return f"sheet_bits_{group}"
