"""The oracle of the kill test itself: what is lost or there twice does not escape it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.chaos.oracle import Oracle
from tests.chaos.writers import LINE_BYTES, Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BLOCK = """
with one as (insert into feed (number, nonce, kind, commit_id)
    select coalesce(max(number), 0) + 1, '\\x00', 'ingest', nextval('commit_ids') from feed
    returning commit_id)
insert into blocks_fresh (received_at, commit_id, team, service, n, ts_min, ts_max, level_counts,
    stream_ids, ts, observed_at, stream, stream_offset, severity, attributes, replayed)
select now(), commit_id, 1, 's', cardinality(%(n)s), now(), now(), '{0,0,0,0,0,0}', '{7}',
    array_fill(now(), array[cardinality(%(n)s)]), array_fill(now(), array[cardinality(%(n)s)]),
    array_fill(%(stream)s::bigint, array[cardinality(%(n)s)]), %(n)s::bigint[],
    array_fill(9::smallint, array[cardinality(%(n)s)]),
    array(select format('{"n":%%s}', n) from unnest(%(n)s::bigint[]) n), %(replayed)s
from one
"""
_GAP = """
insert into gaps (commit_id, team, stream, service, worker, host, begin_offset, end_offset, records,
    at_least, bytes, reason)
values (1, 1, %s, 's', 'w', 'h', %s, %s, %s, %s, 0, %s)
"""


class Scene:
    """A database with blocks and gaps of one service, and the oracle."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.ledger = Ledger("s")
        self.oracle = Oracle(lambda: psycopg.connect(url), [self.ledger])
        self.oracle.prepare()

    def store(self, numbers: Iterable[int], stream: int = 7, *, replayed: bool = False) -> None:
        """Commit one block."""
        values = {"n": list(numbers), "stream": stream, "replayed": replayed}
        self.connection.execute(_BLOCK, values)

    def gap(
        self, stream: int, begin: int, end: int, reason: str = "truncated", records: int = 1
    ) -> None:
        """Commit a gap row, in lines of its file."""
        places = (begin * LINE_BYTES, end * LINE_BYTES)
        self.connection.execute(_GAP, (stream, *places, records, False, reason))

    def missing(self, written: int) -> list[int]:
        """What the oracle does not find, by reading on and by counting anew."""
        targets = {"s": written}
        read_on = self.oracle.look(targets).get("s", [])
        anew = self.oracle.recount(targets).get("s", [])
        assert read_on == anew
        return read_on


@pytest.fixture
def scene(database_url: str) -> Iterator[Scene]:
    """An empty one."""
    made = Scene(database_url)
    with closing(made.oracle), closing(made.connection):
        yield made


def test_a_line_that_is_nowhere_is_missing_until_it_comes(scene: Scene) -> None:
    """Reading on finds what later commits brought, and nothing else."""
    scene.store([0, 1, 3])
    before = scene.missing(5)
    scene.store([4])
    scene.store([2])

    assert (before, scene.missing(5)) == ([2, 4], [])
    assert scene.ledger.stored == 5


def test_a_line_stored_again_is_twice_unless_it_is_marked(scene: Scene) -> None:
    """One unmarked repetition is one too many; a marked one is told as replayed."""
    scene.store([0, 1, 2])
    scene.store([1])
    scene.store([2, 2], replayed=True)
    scene.missing(3)

    assert scene.oracle.totals().counts == (1, 2, 0)


@pytest.mark.parametrize(
    ("stream", "begin", "end", "left"),
    [
        (7, 2, 4, []),
        (7, 2, 3, [2, 3]),
        (7, 3, 4, [2, 3]),
        # Of another file: it says nothing of this one.
        (8, 0, 9, [2, 3]),
    ],
)
def test_a_gap_accounts_for_the_bytes_that_it_names(
    scene: Scene, stream: int, begin: int, end: int, left: list[int]
) -> None:
    """A gap row of the lines' own stream that reaches over their place, and no other."""
    scene.ledger.lives = [0, 4]
    scene.store([0, 1])
    scene.store([4, 5], stream=8)
    scene.gap(stream, begin, end)

    assert scene.missing(6) == left


def test_records_without_room_are_accounted_for_by_their_number(scene: Scene) -> None:
    """A gap of two records accounts for two lines, not for three, that were written meanwhile."""
    scene.ledger.no_room = [range(1, 4)]
    scene.store([0, 4])
    scene.gap(7, 0, 0, "inbox_full", records=2)

    assert scene.missing(4) == [1, 2, 3]
    scene.store([2])
    assert scene.missing(5) == []
    assert scene.oracle.totals().lie_in_gaps == {"s": 2}
    scene.gap(7, 0, 0, "inbox_full", records=9)
    assert scene.missing(6) == [5]


def test_a_line_in_whose_call_its_writer_was_killed_may_be_there_or_not(scene: Scene) -> None:
    """Only that line: its neighbours are missing."""
    scene.ledger.doubtful = {2}
    scene.store([0])

    assert scene.missing(4) == [1, 3]
