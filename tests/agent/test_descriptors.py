"""More files than may be open at once: all of them are read, in turns, and none is lost."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from outrider_agent import adoption
from outrider_agent.control import Question
from tests.agent.harness import Site, numbered, open_files, reborn
from tests.agent.stepped import Stepped, connected_host, new_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outrider_agent.followed import Followed
    from tests.agent.fake_collector import FakeCollector

MOST = 10
FILES = 60


def open_logs(host: Stepped) -> int:
    """How many files of the host this process has open."""
    ours = (str(host.site.logs), f"{host.site.state_dir}/keep")
    return sum(name.startswith(ours) for name in open_files())


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leases: None) -> Stepped:
    """A host whose agent may have ten files open, and has a collector."""
    monkeypatch.setattr(adoption, "most_open", lambda: MOST)
    return connected_host(tmp_path / "host", "window_bytes = 1048576")


def write(host: Stepped, first: int, last: int, lines: str = "") -> None:
    """Write a line, or more, to each of these files."""
    for n in range(first, last):
        host.site.write(f"w{n}.log", lines or f"line {n}\n")


def settle(host: Stepped, times: int = 3) -> None:
    """Let everything come to rest; twice as often as otherwise."""
    for _ in range(times):
        host.settle()


def closed_file(host: Stepped) -> Followed:
    """A file that is followed and was closed, so that others may be open."""
    assert host.agent is not None
    return next(one for one in host.agent._files._by_stream.values() if not one.tail.is_open)


def test_living_files_are_read_in_turns(host: Stepped) -> None:
    """Each grows again and again, with more than the window holds in between; status tells."""
    write(host, 0, FILES)
    settle(host)
    for _ in range(3):
        write(host, 0, FILES)
        settle(host)
    write(host, 0, FILES, numbered(0, 3000))
    settle(host, 12)
    most_open = open_logs(host)
    assert host.agent is not None
    account = host.agent._files.account(Question(), host.now, 0)
    host.crash()
    database = host.collector.database

    assert len(database.rows) == FILES * (4 + 3000)
    assert database.gaps == {}
    assert not any(row.replayed for row in database.rows)
    assert len(database.streams) == FILES
    assert most_open <= MOST
    assert (account.file_count, account.closed_count) == (FILES, FILES - most_open)


@pytest.mark.parametrize("stop", [False, True])
def test_what_is_rotated_and_deleted_in_an_outage_arrives(host: Stepped, stop: bool) -> None:
    """Also more deleted files than may be open; a stop in the middle loses none of them."""
    write(host, 0, FILES)
    settle(host)
    host.disconnect()
    for n in range(FILES):
        path = host.site.write(f"w{n}.log", f"before {n}\n")
        host.step(0.3)
        rotated = path.rename(path.with_name(f"w{n}.1"))
        host.site.write(f"w{n}.log", f"after {n}\n")
        host.step(0.3)
        host.step(6.0)
        rotated.unlink()
    settle(host)
    most_open = open_logs(host)
    if stop:
        host.stop()
        host.start()
    host.connect()
    settle(host, 12)
    host.crash()
    database = host.collector.database
    expected = [f"{word} {n}" for word in ("line", "before", "after") for n in range(FILES)]

    assert sorted(map(str, database.messages())) == sorted(expected)
    assert database.gaps == {}
    assert most_open <= MOST
    assert [*(host.site.state_dir / "keep").iterdir()] == []


def test_all_are_rotated_at_once_and_deleted_later(host: Stepped) -> None:
    """What is rotated is taken hold of at the next look, also what was closed then."""
    write(host, 0, FILES)
    settle(host)
    for n in range(3):
        for path in sorted(host.site.logs.glob("*.log")):
            host.site.write(path.name, f"before {n}\n")
            path.rename(path.with_suffix(".1"))
            host.site.write(path.name, f"after {n}\n")
        for _ in range(20):
            host.step(0.3)
        for path in host.site.logs.glob("*.1"):
            path.unlink()
    settle(host, 6)
    host.crash()
    database = host.collector.database

    assert database.gaps == {}
    assert len(database.rows) == FILES * 7


def test_a_closed_file_that_goes_away_unread_is_a_gap(host: Stepped) -> None:
    """It is no silence, and nothing of the others."""
    write(host, 0, FILES)
    settle(host)
    closed = closed_file(host)
    host.disconnect()
    path = host.site.logs / closed.path.rsplit("/", 1)[1]
    with path.open("a") as file:
        file.write("never read\n")
    path.unlink()
    settle(host)
    host.connect()
    settle(host)
    host.crash()
    ((stream, gap),) = host.collector.database.gaps.values()

    assert gap.reason == "vanished" and str(path) in gap.detail
    assert host.collector.database.streams[stream].closed
    assert len(host.collector.database.rows) == FILES


async def limited(site: Site, most: int) -> asyncio.subprocess.Process:
    """Start the agent as a process that may have so many descriptors."""
    code = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({most}, {most}));"
        "from outrider_agent import cli; sys.exit(cli.main(['run', '--config', sys.argv[1]]))"
    )
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(site.config_file), stderr=asyncio.subprocess.PIPE
    )


async def test_a_process_with_few_descriptors_loses_nothing(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A real one, with room for a third of its files; half of them are rotated and deleted."""
    site = Site(tmp_path / "host", collector)
    for n in range(150):
        site.write(f"w{n}.log", f"line {n}\n")
    process = await limited(site, 120)
    try:
        await collector.until_rows(150, 60)
        for n in range(0, 150, 2):
            path = site.write(f"w{n}.log", f"more {n}\n")
            await asyncio.sleep(0.01)
            path.rename(path.with_name(f"w{n}.1"))
            site.write(f"w{n}.log", f"new {n}\n")
        await collector.until_rows(300, 60)
        for path in site.logs.glob("*.1"):
            path.unlink()
        for n in range(150):
            site.write(f"w{n}.log", f"last {n}\n")
        await collector.until_rows(450, 60)
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()

    assert len(set(collector.database.messages())) == 450
    assert collector.database.gaps == {}
    assert process.returncode == 0, said
    assert b"too many open files" not in said


async def test_a_process_with_few_descriptors_finds_what_was_rotated_while_it_was_stopped(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Four files in each place where one was, far more than may be open: every line arrives once.

    What cannot be opened for want of a descriptor is never taken for gone.
    """
    site = Site(tmp_path / "host", collector)
    expected: list[str] = []

    def append(what: str) -> None:
        for n in range(60):
            site.write(f"w{n}.log", f"{what} of {n}, long enough to tell it from others\n" * 5)
        expected.extend(f"{what} of {n}, long enough to tell it from others" for n in range(60))

    append("first")
    process = await limited(site, 100)
    try:
        await collector.until_rows(5 * len(expected), 60)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    for generation in range(1, 4):
        append(f"before {generation}")
        for n in range(60):
            path = site.logs / f"w{n}.log"
            path.rename(path.with_name(f"w{n}.log.{generation}"))
        append(f"after {generation}")
    process = await limited(site, 100)
    try:
        await collector.until(lambda: len(collector.database.rows) >= 5 * len(expected), 90)
        most_open = sum(name.startswith(str(site.logs)) for name in open_files(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()

    assert sorted(map(str, collector.database.messages())) == sorted(expected * 5)
    assert collector.database.gaps == {}
    assert most_open <= 36
    assert process.returncode == 0, said
    assert b"Traceback" not in said


@pytest.mark.parametrize("in_order", [True, False])
def test_a_restart_finds_all_of_them_again(host: Stepped, in_order: bool) -> None:
    """Streams whose files have to wait for a descriptor are not lost for that."""
    write(host, 0, FILES)
    settle(host)
    for n in range(2):
        if in_order:
            host.stop()
        else:
            host.crash()
        write(host, 0, FILES, f"after {n}\n")
        host.start()
        host.connect()
        settle(host)
    host.crash()
    database = host.collector.database

    assert len(database.rows) == 3 * FILES
    assert not any(row.replayed for row in database.rows)
    assert len(database.streams) == FILES
    assert database.gaps == {}


def test_a_start_at_the_end_holds_for_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for files that the first look found and had no descriptor for."""
    monkeypatch.setattr(adoption, "most_open", lambda: MOST)
    host = new_host(tmp_path / "host", source='start = "end"')
    write(host, 0, FILES)
    host.start()
    host.connect()
    settle(host)
    write(host, 0, FILES, "new\n")
    settle(host)
    host.crash()

    assert host.collector.database.messages() == ["new"] * FILES


def test_the_inode_of_a_closed_file_may_be_anothers_by_then(host: Stepped) -> None:
    """A new file under it is a file of its own; the one that is gone is told, once."""
    write(host, 0, FILES)
    settle(host)
    closed = closed_file(host)
    gone, fresh = Path(closed.path), host.site.logs / "new.log"
    reborn(gone, fresh, "new\n")
    assert fresh.stat().st_ino == closed.key[1]
    settle(host)
    host.crash()
    database = host.collector.database
    ((stream, gap),) = database.gaps.values()

    lines = [f"line {n}" for n in range(FILES)]
    assert sorted(map(str, database.messages())) == sorted([*lines, "new"])
    assert (stream, gap.reason) == (closed.stream_id, "vanished")
    assert str(gone) in gap.detail


@contextmanager
def no_descriptor() -> Iterator[None]:
    """Let this process open nothing more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("looked", [False, True])
def test_what_cannot_be_looked_for_is_not_gone(host: Stepped, looked: bool) -> None:
    """No descriptor is left while streams are sought: they are found once there is one.

    Also where the look for files went through, and only what is beside them cannot be listed.
    """
    write(host, 0, 5)
    settle(host)
    host.stop()
    for n in range(5):
        for generation in range(3):
            path = host.site.write(f"w{n}.log", f"more {generation} {n}\n")
            path.rename(path.with_name(f"w{n}.log.{generation}"))
        host.site.write(f"w{n}.log", f"new {n}\n")
    host.start()
    if looked:
        host.step(0.3)
    host.connect()
    with no_descriptor():
        for _ in range(10):
            host.step(0.3)
    settle(host)
    host.crash()
    database = host.collector.database
    words = ("line", "more 0", "more 1", "more 2", "new")
    expected = [f"{word} {n}" for word in words for n in range(5)]

    assert sorted(map(str, database.messages())) == sorted(expected)
    assert database.gaps == {}


def test_a_copy_is_found_without_a_free_descriptor(host: Stepped) -> None:
    """What was copied and truncated is read on in the copy: another file is closed for that."""
    write(host, 0, 5, numbered(0, 100))
    settle(host)
    path = host.site.write("w0.log", "".join(f"not read yet {n}\n" for n in range(50)))
    path.with_name("w0.log.1").write_bytes(path.read_bytes())
    os.truncate(path, 0)
    with no_descriptor():
        for _ in range(10):
            host.step(0.3)
    settle(host)
    host.crash()
    messages = host.collector.database.messages()

    assert sorted(m for m in messages if m and "not" in m) == sorted(
        f"not read yet {n}" for n in range(50)
    )
    assert len(messages) == 5 * 100 + 50
