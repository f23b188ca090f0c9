"""What a filter asks of the store, as SQL in four depths.

* ``streams`` is over ``stream_info i``: streams that can hold a match. None: any stream.
* ``block`` is over ``blocks b`` and reads only summaries: blocks that can hold a match.
* ``text`` is over a piece of block ``b`` (:func:`.blocks.records`) and reads its texts as one, at
  half the cost of taking it apart into records: pieces that can hold a match.
* ``record`` is over ``u``, a record with its block's service: exactly the matches.

All but the last may let through too much, never too little. All values are parameters; the SQL is
built of literals of this program alone. What regular expressions find is a parameter too, which
:mod:`~outrider_collector.store.reading.expressions` fills.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from outrider import severity
from outrider_collector.store.reading.logic import TRUE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from psycopg.sql import Composable

    from outrider_collector.store.reading.sieve import Sieve

ALL_LEVELS: Final = frozenset(range(6))
"""Indexes into a block's ``level_counts``: trace, debug, info, warn, error, fatal."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression of a filter, which Postgres is told the answer of."""

    name: str
    """Its parameters' names begin so."""
    column: str
    """The text that it looks into: a column of records or of ``stream_info``."""
    of_streams: bool
    test: Callable[[str], bool]
    """Whether it is found in a text of the column."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """A compiled filter. Parameters are named; names begin with "f" and a digit."""

    streams: Composable | None = None
    block: Composable = field(default_factory=lambda: TRUE)
    record: Composable = field(default_factory=lambda: TRUE)
    text: Composable = field(default_factory=lambda: TRUE)
    sieve: Sieve | None = None
    """The same, asked beside Postgres."""
    named: bool = False
    """Whether ``block`` was asked, and what it leaves is named (:data:`.blocks.NAMED`)."""
    filtered: bool = False
    """Whether ``block`` asks the filters of compacted blocks: few are left to look into."""
    sought: tuple[tuple[bytes, ...], ...] = ()
    """Groups of tokens that ``block`` asks filters for, which sheets can be asked for too."""
    sheets: Composable = field(default_factory=lambda: TRUE)
    """Over ``blocks b`` as ``block``, by what sheets answered; its parameters are not in
    ``parameters`` (:func:`.sheets.left_out`)."""
    text_columns: frozenset[str] = frozenset()
    """Columns of the piece that ``text`` reads."""
    columns: frozenset[str] = frozenset()
    """Columns of ``u`` that ``record`` reads, of those in ``blocks.RECORD_COLUMNS``."""
    levels: frozenset[int] | None = ALL_LEVELS
    """Where ``block`` and these levels decide alone, so that a block's level counts are its
    matches; None: records must be looked at."""
    severity_least: int = severity.MINIMUM
    """No match is less severe."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    expressions: tuple[Expression, ...] = ()
    """Their answers are parameters that are not in ``parameters`` yet."""
    candidate: Composable = field(default_factory=lambda: TRUE)
    """Over ``u``: records that can match, whatever expressions over records answer."""
    candidate_columns: frozenset[str] = frozenset()
    """Columns of ``u`` that ``candidate`` and the expressions over records read."""


def stream_condition(accepted: Composable) -> Composable:
    """Return the condition that a record's stream is accepted, given one over ``i``.

    IS TRUE keeps the planner from making a join of it, which it would run once a record: the
    streams are hashed once.
    """
    return sql.SQL("(u.stream in (select i.id from stream_info i where {})) is true").format(
        accepted
    )


EVERYTHING: Final = Conditions()


def of_worker(service: str, worker: str, host: str) -> Conditions:
    """Return the conditions for the records of one worker."""
    streams = sql.SQL(
        "i.service = %(f0)s::text and i.worker = %(f1)s::text and i.host = %(f2)s::text"
    )
    return Conditions(
        streams=streams,
        block=sql.SQL("b.service = %(f0)s::text"),
        record=stream_condition(streams),
        levels=None,
        parameters={"f0": service, "f1": worker, "f2": host},
    )
