"""What SQL says of all lines, round by round: each is stored once, or lies in a gap row.

The oracle reads on in the feed from where it stopped and keeps what it saw in a schema of its own
in the same database, so that a database which is restored to an earlier state takes the oracle back
with it. At the end `recount` throws that away and reads every block there is.

A line is accounted for when it is stored; or its writer was killed in the very call; or it lies in
a gap: one of its own stream that reaches over its place, or one of records that found no room.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import psycopg

from tests.chaos.writers import LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tests.chaos.writers import Ledger

_T = TypeVar("_T")
_SCHEMA = """
create schema oracle;
create table oracle.seen (service text, n bigint, stream bigint not null, unmarked integer not null,
    marked integer not null, primary key (service, n));
create index on oracle.seen (service, stream);
create index on oracle.seen (service) where unmarked > 1;
create index on oracle.seen (service, marked) where marked > 0;
create table oracle.excused (service text, n bigint, reason text not null,
    primary key (service, n));
create table oracle.place (number bigint not null);
create table oracle.low (service text primary key, n bigint not null);
insert into oracle.place values (0);
"""
_ADD = """
insert into oracle.seen as s (service, n, stream, unmarked, marked)
select b.service, (attributes_json(u.a) ->> 'n')::bigint, min(u.stream),
    count(*) filter (where not b.replayed), count(*) filter (where b.replayed)
from {blocks} b cross join lateral unnest(b.attributes, b.stream) u(a, stream)
where b.service = any(%s) and u.a like '%%"n"%%' group by 1, 2
on conflict (service, n) do update set unmarked = s.unmarked + excluded.unmarked,
    marked = s.marked + excluded.marked
"""
_READ_ON = _ADD.format(
    blocks="(select f.* from oracle.place p join feed on feed.number > p.number"
    " join blocks_fresh f on f.commit_id = feed.commit_id where feed.kind = 'ingest')"
)
_READ_ALL = _ADD.format(blocks="blocks")
_MOVE_ON = "update oracle.place set number = (select coalesce(max(number), 0) from feed)"
_MISSING = """
select n from generate_series(
    coalesce((select l.n from oracle.low l where l.service = %(service)s), 0), %(end)s - 1) n
where not exists (select from oracle.seen s where s.service = %(service)s and s.n = n.n)
  and not exists (select from oracle.excused e where e.service = %(service)s and e.n = n.n)
order by n
"""
_LOW = """
insert into oracle.low values (%s, %s) on conflict (service) do update set n = excluded.n
"""
_GAPS = """
select g.stream, coalesce(g.begin_offset, 0), coalesce(g.end_offset, 0), g.records, g.at_least,
    g.reason, exists (select from oracle.seen s where s.service = g.service and s.stream = g.stream)
from gaps g where g.service = %s
"""
_TOTALS = """
select (select coalesce(sum(unmarked - 1), 0) from oracle.seen where unmarked > 1),
    (select coalesce(sum(marked), 0) from oracle.seen where marked > 0),
    array(select e.service || ' ' || count(*) from oracle.excused e where e.reason = 'gap'
        group by e.service order by 1)
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """Over all services, so far."""

    twice: int
    """Rows beyond the first of a line that are not marked."""
    replayed: int
    """Rows that are marked as perhaps a repetition."""
    lie_in_gaps: dict[str, int]
    """By service."""

    @property
    def gaps(self) -> int:
        """Lines that lie in a gap."""
        return sum(self.lie_in_gaps.values())

    @property
    def counts(self) -> tuple[int, int, int]:
        """All of them."""
        return self.twice, self.replayed, self.gaps


@dataclass(frozen=True, slots=True)
class _Gap:
    stream: int | None
    begin: int
    end: int
    records: int
    at_least: bool
    reason: str
    seen: bool
    """A line of its stream is stored."""

    def reaches_over(self, first: int, last: int) -> bool:
        """Whether the bytes from ``first`` to ``last`` are in it, as far as anybody knew."""
        return self.begin <= first and (last <= self.end or self.at_least)


class Oracle:
    """Looks at one database; every method may raise OperationalError while the server is away."""

    def __init__(
        self, connect: Callable[[], psycopg.Connection], ledgers: Iterable[Ledger]
    ) -> None:
        self._connect = connect
        self._connection: psycopg.Connection | None = None
        self._ledgers = {ledger.service: ledger for ledger in ledgers}

    def close(self) -> None:
        """Leave the database; the next question opens it again."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def prepare(self) -> None:
        """Make the oracle's schema."""
        self._do(lambda connection: connection.execute(_SCHEMA))

    def look(self, targets: dict[str, int]) -> dict[str, list[int]]:
        """Read on; return, by service, which lines before its target are not accounted for."""
        return self._do(lambda connection: self._look(connection, targets, _READ_ON))

    def recount(self, targets: dict[str, int]) -> dict[str, list[int]]:
        """Do the same from nothing, over all blocks."""

        def anew(connection: psycopg.Connection) -> dict[str, list[int]]:
            connection.execute("truncate oracle.seen, oracle.low")
            return self._look(connection, targets, _READ_ALL)

        return self._do(anew)

    def give_up(self, missing: dict[str, list[int]]) -> None:
        """Look for these lines no more: they are lost, which is said once."""
        self._do(lambda connection: _excuse(connection, missing, "lost"))

    def totals(self) -> Totals:
        """What was found so far."""
        row = self._do(lambda connection: connection.execute(_TOTALS).fetchone())
        assert row is not None
        counts = (text.rpartition(" ") for text in row[2])
        return Totals(int(row[0]), int(row[1]), {name: int(count) for name, _, count in counts})

    def _do(self, what: Callable[[psycopg.Connection], _T]) -> _T:
        try:
            if self._connection is None:
                self._connection = self._connect()
                self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with self._connection.transaction():
                return what(self._connection)
        except psycopg.OperationalError:
            self.close()
            raise

    def _look(
        self, connection: psycopg.Connection, targets: dict[str, int], read: str
    ) -> dict[str, list[int]]:
        connection.execute(read.encode(), (list(targets),))
        connection.execute(_MOVE_ON)
        found = {}
        for service, end in targets.items():
            values = {"service": service, "end": end}
            missing = [int(n) for (n,) in connection.execute(_MISSING, values)]
            ledger = self._ledgers[service]
            excused = {n: "doubtful" for n in missing if n in ledger.doubtful}
            rest = [n for n in missing if n not in excused]
            if rest:
                lie_in_gaps = set(self._in_gaps(connection, ledger, rest))
                excused |= dict.fromkeys(lie_in_gaps, "gap")
                rest = [n for n in rest if n not in lie_in_gaps]
            for reason in ("doubtful", "gap"):
                chosen = [n for n, why in excused.items() if why == reason]
                _excuse(connection, {service: chosen}, reason)
            ledger.stored = rest[0] if rest else end
            connection.execute(_LOW, (service, ledger.stored))
            if rest:
                found[service] = rest
        return found

    def _in_gaps(
        self, connection: psycopg.Connection, ledger: Ledger, missing: list[int]
    ) -> Iterator[int]:
        gaps = [_Gap(*row) for row in connection.execute(_GAPS, (ledger.service,))]
        streams = _streams(connection, ledger, missing)
        left = []
        for first, numbers in _by_life(ledger.lives, missing):
            begin, end = ((n - first) * LINE_BYTES for n in (numbers[0], numbers[-1] + 1))
            its = streams.get(first)
            own = (g for g in gaps if (g.stream in its if its else not g.seen))
            if first >= 0 and any(g.reaches_over(begin, end) for g in own):
                yield from numbers
            else:
                left += numbers
        left = [n for n in left if any(n in numbers for numbers in ledger.no_room)]
        no_room = [g for g in gaps if g.reason == "inbox_full"]
        used = connection.execute(
            "select count(*) from oracle.excused where service = %s and reason = 'gap'",
            (ledger.service,),
        ).fetchone()
        told = sum(g.records for g in no_room) - (used[0] if used else 0)
        if left and (len(left) <= told or any(g.at_least for g in no_room)):
            yield from left


def _streams(
    connection: psycopg.Connection, ledger: Ledger, missing: list[int]
) -> dict[int, set[int]]:
    """By first number of a file: the streams of which a line of that file is stored."""
    found = {}
    for first, numbers in _by_life(ledger.lives, missing):
        after = min((n for n in ledger.lives if n > first), default=numbers[-1] + 1)
        rows = connection.execute(
            "select distinct stream from oracle.seen where service = %s and n >= %s and n < %s",
            (ledger.service, first, after),
        ).fetchall()
        if rows:
            found[first] = {int(row[0]) for row in rows}
    return found


def _by_life(lives: list[int], missing: list[int]) -> Iterator[tuple[int, list[int]]]:
    """Cut numbers by the file they were written to; -1 where no file is known."""
    if not lives:
        yield -1, missing
        return
    bounds = [*lives, missing[-1] + 1]
    for first, after in pairwise(bounds):
        if numbers := [n for n in missing if first <= n < after]:
            yield first, numbers


def _excuse(connection: psycopg.Connection, lines: dict[str, list[int]], reason: str) -> None:
    for service, numbers in lines.items():
        connection.execute(
            "insert into oracle.excused select %s, unnest(%s::bigint[]), %s on conflict do nothing",
            (service, numbers, reason),
        )
