"""What a file was before decides where it is read on, and holds for no other file of its inode."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.agent.harness import numbered, numbers, reborn
from tests.agent.stepped import Stepped, connected_host

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("leases")

BANNER = "line 9000\nline 9001\n"
LINES = 200
HEAD = "line 9000\n"


@pytest.fixture
def host(tmp_path: Path) -> Stepped:
    """A host whose agent runs and has a session."""
    return connected_host(tmp_path / "host")


def fresh(host: Stepped) -> list[int]:
    """The numbers of the lines that are not marked as replayed, sorted."""
    rows = host.collector.database.rows
    return sorted(int((row.message or "").split()[1]) for row in rows if not row.replayed)


def test_a_file_whose_stream_ended_goes_on_where_another_that_began_like_it_is_truncated(
    host: Stepped,
) -> None:
    """That it begins with the other's bytes, too, does not take from what is known of it."""
    log = host.site.write("a.log", BANNER + numbered(0, LINES))
    host.work()
    old = log.rename(log.with_name("a.log.1"))
    host.settle()
    host.site.write("a.log", BANNER)
    host.work()
    os.truncate(log, 0)
    host.site.write("a.log", numbered(9100, 9101))
    host.work()
    old.rename(log.with_name("b.log"))
    host.site.write("b.log", numbered(LINES, LINES + 1))
    host.settle()

    wanted = [*range(LINES + 1), 9000, 9000, 9001, 9001, 9100]
    assert fresh(host) == wanted
    assert len(numbers(host.collector)) == len(wanted)


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("ended", [False, True], ids=["end not seen", "end seen"])
def test_a_file_that_looks_like_an_earlier_one_of_its_inode_is_read(
    host: Stepped, killed: bool, ended: bool
) -> None:
    """The same size and the same first line prove nothing: it was written later.

    Whether the stream of the earlier one ended in this process, or after the last word of the
    process before.
    """
    log = host.site.write("a.log", HEAD)
    host.work()
    host.site.write("a.log", numbered(1000, 1000 + LINES))
    host.work()
    old = log.rename(log.with_name("a.log.1"))
    host.site.write("a.log", HEAD + numbered(1, 2))
    host.work()
    if not ended:
        host.full = True  # what ends now is not remembered
        host.settle()
        host.full = False
    host.restart(killed=killed or not ended)
    host.settle()
    later = HEAD + numbered(2000, 2000 + LINES)
    assert len(later) == old.stat().st_size
    log.rename(log.with_name("a.log.2"))
    reborn(old, log, later)
    log.rename(old)
    host.site.write("a.log", HEAD + numbered(2, 3))
    host.settle()

    once = [1, 2, *range(1000, 1000 + LINES), *range(2000, 2000 + LINES)]
    assert sorted(n for n in numbers(host.collector) if n != 9000) == once
    assert host.collector.database.gaps == {}
    if ended:
        assert [n for n in fresh(host) if n != 9000] == once


@pytest.mark.parametrize("grown", [False, True])
def test_a_file_that_comes_back_after_a_crash_goes_on_or_is_marked(
    host: Stepped, grown: bool
) -> None:
    """Its stream ended after the last word of the process that was killed, unless it was open yet.

    What is written to it meanwhile may have been read, or not: all of it is read again, marked.
    """
    log = host.site.write("a.log", HEAD + numbered(0, LINES))
    host.work()
    old = log.rename(log.with_name("a.log.1"))
    host.work()
    host.full = True
    host.settle()
    host.full = False
    host.restart(killed=True)
    old.rename(log.with_name("b.log"))
    if grown:
        host.site.write("b.log", numbered(LINES, LINES + 1))
    host.settle()
    host.site.write("b.log", numbered(LINES + 1, LINES + 2))
    host.settle()

    stored = numbers(host.collector)
    last = [LINES, LINES + 1] if grown else [LINES + 1]
    assert sorted(set(stored)) == [*range(LINES), *last, 9000]
    assert len(stored) == (len(set(stored)) + LINES + 1 if grown else len(set(stored)))
    assert fresh(host) == [*range(LINES), LINES + 1, 9000]


def test_what_a_stream_has_yet_to_send_is_not_marked_where_its_file_comes_back(
    host: Stepped,
) -> None:
    """It was to end, and did not: a restart and a new name under a source go on in it."""
    log = host.site.write("a.log", HEAD + numbered(0, LINES))
    host.work()
    old = log.rename(log.with_name("a.log.1"))
    host.disconnect()
    host.work()
    host.restart(killed=True)
    host.disconnect()
    old.rename(log.with_name("b.log"))
    host.site.write("b.log", numbered(LINES, LINES + 5))
    host.work()
    host.connect()
    host.settle()

    wanted = [*range(LINES + 5), 9000]
    assert fresh(host) == sorted(numbers(host.collector)) == wanted


@pytest.mark.parametrize("killed", [False, True])
def test_a_file_that_begins_with_all_that_an_earlier_one_of_its_inode_had_is_read(
    host: Stepped, killed: bool
) -> None:
    """One line of an ended stream is no proof of it, where it is longer by now."""
    log = host.site.write("a.log", HEAD)
    host.work()
    old = log.rename(log.with_name("a.log.1"))
    host.site.write("a.log", numbered(1, 2))
    host.settle()
    host.step(2.0)
    host.end(killed=killed)
    log.rename(log.with_name("a.log.2"))
    reborn(old, log, HEAD + numbered(1000, 1000 + LINES))
    log.rename(old)
    host.site.write("a.log", numbered(2, 3))
    host.start()
    host.connect()
    host.settle()

    assert sorted(numbers(host.collector)) == [1, 2, *range(1000, 1000 + LINES), 9000, 9000]
    assert host.collector.database.gaps == {}
