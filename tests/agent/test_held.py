"""Files that were deleted before they were delivered: bounded, told, and kept over a stop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from outrider_agent.held import Held, beyond
from tests.agent.harness import numbered, open_files
from tests.agent.stepped import Stepped, connected_host

if TYPE_CHECKING:
    from pathlib import Path

LINES = 100_000
"""More than a window holds."""


def one(
    size_bytes: int, mtime_ns: int, when_full: str = "drop_oldest", free: int = 1000
) -> Held[Any]:
    """A held file."""
    found = SimpleNamespace(source=SimpleNamespace(when_full=when_full))
    return Held(cast("Any", SimpleNamespace(found=found)), size_bytes, mtime_ns, free)


def test_the_oldest_go_first_and_no_more_than_must() -> None:
    """By bytes held and by what is left for others; a source that blocks keeps its own."""
    old, middle, new = one(100, 1), one(50, 2), one(70, 3)
    blocking = one(500, 0, "block")

    assert beyond([new, middle, old], 220, 0) == []
    assert beyond([new, middle, old], 219, 0) == [old]
    assert beyond([new, middle, old], 100, 0) == [old, middle]
    assert beyond([new, middle, old], 0, 0) == [old, middle, new]
    assert beyond([new, old, blocking], 600, 0) == [old]
    assert beyond([new, middle, old], 1000, 1000) == []
    assert beyond([new, middle, old], 1000, 1120) == [old, middle]


def never_connected(root: Path, agent: str = "") -> Stepped:
    """A host whose agent has no collector yet."""
    host = connected_host(root, agent)
    host.disconnect()
    host.crash()
    host.start()
    return host


@pytest.mark.usefixtures("leases")
def test_before_the_first_session_the_same_limits_hold(tmp_path: Path) -> None:
    """A file that is deleted then and beyond them is let go of; the gap is told when it can be."""
    host = never_connected(tmp_path, "held_bytes = 1000")
    path = host.site.write("a.log", numbered(0, 1000))
    host.site.write("b.log", numbered(0, 10))
    host.settle()
    path.unlink()
    (host.site.logs / "b.log").unlink()
    host.settle()
    is_open = [f"{path} (deleted)" in open_files(), any("b.log" in name for name in open_files())]
    host.connect()
    host.settle()
    host.crash()
    database = host.collector.database
    ((stream, gap),) = database.gaps.values()

    assert is_open == [False, True]
    assert (gap.reason, gap.begin, gap.end) == ("held_full", 0, len(numbered(0, 1000)))
    assert database.streams[stream].info.path == str(path)
    assert [row.message for row in database.rows] == [f"line {n}" for n in range(10)]


@pytest.mark.usefixtures("leases")
@pytest.mark.parametrize("known", [True, False])
def test_a_stop_without_any_session_keeps_what_was_deleted(tmp_path: Path, known: bool) -> None:
    """Also where it is the rest of a stream that another process began: once, in that stream."""
    host = connected_host(tmp_path)
    if known:
        host.site.write("a.log", numbered(0, 100))
        host.settle()
    host.crash()
    host.start()
    path = host.site.write("a.log", numbered(100, 200))
    host.settle()
    path.unlink()
    host.settle()
    host.stop()
    host.start()
    host.connect()
    host.settle()
    host.crash()
    database = host.collector.database

    expected = [f"line {n}" for n in range(0 if known else 100, 200)]
    assert [row.message for row in database.rows] == expected
    assert database.gaps == {}
    assert len(database.streams) == 1


@pytest.mark.usefixtures("leases")
@pytest.mark.parametrize("holds", [True, False])
def test_what_was_read_to_its_end_counts_until_it_is_stored(tmp_path: Path, holds: bool) -> None:
    """While the store holds, read is not delivered: files are let go of, and told as gaps."""
    host = connected_host(tmp_path, "held_bytes = 100000")
    host.site.write("a.log", numbered(0, 10))
    host.settle()
    assert host.agent is not None
    if holds:
        host.agent._delivery.keep_all_but_vital(262_144)
    else:
        host.disconnect()
    for n in range(1, 11):
        path = host.site.write("a.log", numbered(1000 * n, 1000 * n + 1000) + "x" * 50_000 + "\n")
        for _ in range(4):
            host.step(0.5)
        path.unlink()
        for _ in range(16):
            host.step(1.0)
    still = sum(one.has_file for one in host.agent._files._by_stream.values())
    if holds:
        host.agent._delivery.keep_all_but_vital(0)
    else:
        host.connect()
    host.settle()
    host.crash()
    database = host.collector.database
    rows, gaps = len(database.rows), [gap for _, gap in database.gaps.values()]

    assert still == 1
    assert {(gap.reason, gap.records) for gap in gaps} <= {("held_full", 1)}
    assert len(gaps) == (9 if holds else 0)  # what the window has is not lost
    assert rows == 10 + 1001 * (1 if holds else 10)
    assert [stream.closed for stream in database.streams.values()] == [True] * 10


@pytest.mark.usefixtures("leases")
def test_what_is_given_up_after_it_was_read_is_a_gap_of_lines(tmp_path: Path) -> None:
    """Its writer still has it open, all of it was read, and the store took none of it."""
    host = connected_host(tmp_path, "held_bytes = 100000")
    path = host.site.write("a.log", numbered(0, 10))
    host.settle()
    assert host.agent is not None
    host.agent._delivery.keep_all_but_vital(262_144)
    with path.open("a") as writer:
        writer.write(numbered(10, 20_000))
        writer.flush()
        for _ in range(4):
            host.step(0.5)
        path.unlink()
        for _ in range(20):
            host.step(1.0)
        host.agent._delivery.keep_all_but_vital(0)
        host.settle()
    host.crash()
    ((_, gap),) = host.collector.database.gaps.values()

    assert (gap.reason, gap.begin, gap.records) == ("held_full", len(numbered(0, 10)), 1)
    assert gap.end == len(numbered(0, 20_000))


@pytest.mark.usefixtures("leases")
@pytest.mark.parametrize("when_full", ["drop_oldest", "block"])
def test_what_is_held_beyond_the_limit_is_a_gap_or_stays(tmp_path: Path, when_full: str) -> None:
    """The gap names every byte, also what a crash took on its way; the descriptor is given back."""
    limits = "held_bytes = 1000\nwindow_bytes = 1048576"
    host = connected_host(tmp_path, limits, f'when_full = "{when_full}"')
    path = host.site.write("a.log", numbered(0, 10))
    host.settle()
    host.disconnect()
    host.site.write("a.log", numbered(10, LINES))
    host.settle()
    size = path.stat().st_size
    path.unlink()
    host.settle()
    is_open = f"{path} (deleted)" in open_files()
    if when_full == "drop_oldest":
        host.crash()
        host.start()
    host.connect()
    host.settle()
    host.crash()
    database = host.collector.database
    stored = [row.message for row in database.rows]

    if when_full == "block":
        assert is_open
        assert (stored, database.gaps) == ([f"line {n}" for n in range(LINES)], {})
        return
    assert not is_open
    assert stored == [f"line {n}" for n in range(10)]
    ((_, gap),) = database.gaps.values()
    assert (gap.reason, gap.begin, gap.end, gap.at_least) == ("held_full", 70, size, True)


@pytest.mark.usefixtures("leases")
@pytest.mark.parametrize("known", [True, False], ids=["some-delivered", "never-opened"])
def test_a_stop_keeps_what_is_not_delivered(tmp_path: Path, known: bool) -> None:
    """In the next process each line arrives once, in records as its source makes them."""
    host = connected_host(tmp_path, source='multiline = "indented"')
    if known:
        host.site.write("a.log", "first " + "x" * 5000 + "\n" + numbered(0, 10))
        host.settle()
    else:
        host.site.write("other.log", "first\n")
        host.settle()
    host.disconnect()
    path = host.site.write("a.log", numbered(10, 20) + "crash\n  at main\nlast\n")
    host.settle()
    path.unlink()
    host.settle()
    host.stop()
    (kept,) = (host.site.state_dir / "keep").iterdir()
    host.start()
    host.crash()  # nothing of it is lost by a crash before it was delivered
    host.start()
    host.connect()
    host.settle()
    host.crash()
    database = host.collector.database
    numbers = range(0 if known else 10, 20)

    stored = [row.message for row in database.rows][1:]
    assert stored == [*(f"line {n}" for n in numbers), "crash\n  at main", "last"]
    assert not any(row.replayed for row in database.rows)
    assert database.gaps == {}
    assert not kept.exists()


@pytest.mark.usefixtures("leases")
def test_beyond_the_limit_nothing_is_kept_and_it_is_said(tmp_path: Path) -> None:
    """What a stop cannot keep is named with its size, and is a gap for the next process."""
    host = connected_host(tmp_path, "held_bytes = 10", 'when_full = "block"')
    path = host.site.write("a.log", numbered(0, 10))
    host.settle()
    host.disconnect()
    host.site.write("a.log", numbered(10, 20))
    path.unlink()
    host.settle()
    host.stop()
    said = [line for line in host.said if "cannot keep 80 bytes" in line]
    host.start()
    host.connect()
    host.settle()
    host.crash()

    assert len(said) == 1 and str(path) in said[0]
    ((_, gap),) = host.collector.database.gaps.values()
    assert gap.reason == "vanished"
