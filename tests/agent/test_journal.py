"""The journal and the cache: what must survive does, whatever byte of the file is damaged."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outrider_agent import journal, state
from outrider_agent.journal import Journal
from outrider_agent.streams import INBOX_FULL, Loss, Stream

if TYPE_CHECKING:
    from pathlib import Path


def stream(number: int) -> Stream:
    """Return a stream to be journalled."""
    return Stream(
        stream_id=number, service="s", worker="w", source="file", path="/p", host="h",
        head_digest=b"\xff\0",
    )  # fmt: skip


def loss(number: int) -> Loss:
    """Return a gap to be journalled."""
    return Loss(gap_id=bytes([number]) * 16, stream_id=number, begin=1, end=2, reason="truncated")


def test_pending_entries_survive(tmp_path: Path) -> None:
    """A new life finds the births and gaps that were not settled, and no others."""
    path = tmp_path / "journal"
    first = Journal(path)
    first.born([stream(1), stream(2)])
    first.lost(loss(3))
    first.lost(loss(4))
    first.opened([1])
    first.stored(loss(3).gap_id)
    first.close()
    second = Journal(path)

    assert second.births == {2: stream(2)}
    assert second.gaps == {loss(4).gap_id: loss(4)}
    assert second.gap_of(4) == loss(4)
    assert second.gap_of(3) is None
    second.close()


def test_a_long_life_does_not_grow_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settled entries are dropped when enough have gathered; pending ones are kept."""
    monkeypatch.setattr(journal, "COMPACT_BYTES", 10_000)
    path = tmp_path / "journal"
    log = Journal(path)
    log.lost(loss(9))
    for number in range(1, 200):
        log.born([stream(number)])
        log.opened([number])
    log.close()

    assert path.stat().st_size < 12_000
    again = Journal(path)
    assert (again.births, list(again.gaps)) == ({}, [loss(9).gap_id])
    again.close()


def test_many_pending_entries_are_not_written_anew_for_each_further_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where more is pending than is compacted at, what is written stays in proportion."""
    monkeypatch.setattr(journal, "COMPACT_BYTES", 10_000)
    written = 0
    write = os.write

    def counted(fd: int, data: bytes) -> int:
        nonlocal written
        written += len(data)
        return write(fd, data)

    log = Journal(tmp_path / "journal")
    monkeypatch.setattr(os, "write", counted)
    log.born([stream(number) for number in range(2000)])
    once = written
    for number in range(0, 2000, 2):
        log.opened([number])
    log.opened(range(2000))

    assert written < 3 * once
    assert not log.births
    log.close()


def test_a_torn_entry_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entry that found no room is lost alone: what is written when there is room is kept."""
    path = tmp_path / "journal"
    log = Journal(path)
    write, room = os.write, [30]

    def full(fd: int, data: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, bytes(data)[: room.pop()])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space"):
            log.lost(loss(1))
    log.lost(loss(2))
    log.close()
    again = Journal(path)

    assert list(again.gaps) == [loss(2).gap_id]
    again.close()


def test_a_journal_opens_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is pending is known at once; what is told when there is room comes behind it."""
    path = tmp_path / "journal"
    log = Journal(path)
    log.lost(loss(1))
    log.close()
    with path.open("ab") as file:
        file.write(b'{"gap": {"torn')

    def full(_fd: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        log = Journal(path)
    assert list(log.gaps) == [loss(1).gap_id]
    log.lost(loss(2))
    log.close()
    again = Journal(path)

    assert list(again.gaps) == [loss(1).gap_id, loss(2).gap_id]
    again.close()


def test_a_compaction_without_room_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no new file can be written the old one is kept and goes on."""
    monkeypatch.setattr(journal, "COMPACT_BYTES", 1000)
    path = tmp_path / "journal"
    log = Journal(path)
    path.with_suffix(".new").mkdir()
    for number in range(1, 30):
        log.lost(loss(number))
    log.close()
    path.with_suffix(".new").rmdir()
    again = Journal(path)

    assert len(again.gaps) == 29
    again.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 2000), st.binary(max_size=5), st.booleans())
def test_any_damage_costs_at_most_the_damaged_entries(
    tmp_path: Path, place: int, junk: bytes, cut: bool
) -> None:
    """A journal with any bytes overwritten, inserted or cut off is opened, and can be used."""
    path = tmp_path / "journal"
    path.unlink(missing_ok=True)
    log = Journal(path)
    log.born([stream(1), stream(2)])
    log.lost(loss(3))
    log.close()
    data = path.read_bytes()
    place %= len(data)
    path.write_bytes(data[:place] + junk + (b"" if cut else data[place + len(junk) :]))
    damaged = Journal(path)
    damaged.born([stream(7)])
    damaged.close()
    again = Journal(path)

    assert 7 in again.births
    assert set(again.births) <= {1, 2, 7} | set(range(100))
    again.close()


@given(st.binary(max_size=60))
def test_a_cache_of_junk_is_an_empty_cache(
    tmp_path_factory: pytest.TempPathFactory, junk: bytes
) -> None:
    """A cache that cannot be read is as if it were not there."""
    path = tmp_path_factory.mktemp("cache") / "cache.json"
    path.write_bytes(junk)

    assert isinstance(state.load(path), state.State)


def test_the_cache_is_kept(tmp_path: Path) -> None:
    """What was saved is what is loaded."""
    kept = state.State(7, b"n" * 16, {1: 2}, {1: 3})
    state.save(tmp_path / "cache.json", kept)

    assert state.load(tmp_path / "cache.json") == kept


def test_what_was_counted_is_counted_until_the_stream_is_closed(tmp_path: Path) -> None:
    """A gap and the count it stands for come together; the count outlives the gap, not the stream.

    The name by which a stream's end is told is never that of a full inbox.
    """
    path = tmp_path / "journal"
    first = Journal(path)
    full = Loss(gap_id=b"f" * 16, stream_id=3, begin=1, end=1, reason=INBOX_FULL, records=5)
    first.fell_short(full, 5)
    first.lost(loss(3))
    first.close()
    second = Journal(path)
    assert (second.counted, second.shortfalls(3), second.gap_of(3)) == ({3: 5}, [full], loss(3))
    second.stored(full.gap_id)
    second.close()
    third = Journal(path)
    assert (third.counted, third.shortfalls(3)) == ({3: 5}, [])
    third.closed(3)
    third.close()
    fourth = Journal(path)

    assert (fourth.counted, fourth.gaps) == ({}, {})
    fourth.close()
