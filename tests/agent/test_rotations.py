"""Rotation in every way that is used, with a running agent and behind its back."""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from outrider_agent import adoption, discovery
from tests.agent.harness import Site, numbered, numbers, reborn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from tests.agent.fake_collector import FakeCollector


async def test_a_new_file_under_an_old_inode_is_read_from_its_beginning(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """An inode that is given again while no agent runs does not make a new file an old one."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
    before = path.stat().st_ino
    reborn(path, path, numbered(100, 140))
    assert path.stat().st_ino == before
    async with site.agent():
        await collector.until_rows(50)

    assert numbers(collector)[10:] == [*range(100, 140)]
    assert not any(row.replayed for row in collector.database.rows)
    ((_, gap),) = collector.database.gaps.values()
    assert gap.reason == "truncated"


async def test_a_file_deleted_and_made_again_under_a_running_agent(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """The old file is read to its end, the new one from its beginning, however often."""
    site = Site(tmp_path, collector)
    async with site.agent():
        for part in range(5):
            path = site.write("a.log", numbered(part * 10, part * 10 + 10))
            await collector.until_rows(part * 10 + 10)
            path.unlink()

    assert sorted(numbers(collector)) == [*range(50)]
    assert collector.database.gaps == {}


async def test_files_that_begin_alike_are_different_files(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A common banner longer than any fingerprint mixes nothing up, over restarts and rotation."""
    site = Site(tmp_path, collector)
    banner = numbered(0, 500)
    for name, first in (("a.log", 1000), ("b.log", 2000), ("c.log", 3000)):
        site.write(name, banner + numbered(first, first + 5))
    async with site.agent():
        await collector.until_rows(1515)
    a, b = site.logs / "a.log", site.logs / "b.log"
    a.rename(site.logs / "swap")
    b.rename(a)
    (site.logs / "swap").rename(b)
    site.write("a.log", numbered(2005, 2010))
    site.write("b.log", numbered(1005, 1010))
    async with site.agent():
        await collector.until_rows(1525)

    stored = sorted(n for n in numbers(collector) if n >= 500)
    assert stored == [*range(1000, 1010), *range(2000, 2010), *range(3000, 3005)]
    assert collector.database.gaps == {}


@asynccontextmanager
async def copied_and_truncated(site: Site, collector: FakeCollector) -> AsyncIterator[None]:
    """Run the agent; most of a file was read by nobody when it was copied and truncated.

    The collector acknowledges nothing any more.
    """
    path = site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
        collector.acknowledge = False
        site.write("a.log", numbered(10, 20_000, size=250))
        before = len(collector.batches)
        await collector.until(lambda: len(collector.batches) > before)
        shutil.copy2(path, path.with_name("a.log.1"))
        os.truncate(path, 0)
        site.write("a.log", numbered(500_000, 500_010))
        yield


async def test_a_copytruncate_behind_which_nothing_was_sent_is_read_from_the_copy(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Copied and truncated while the collector takes nothing: the copy has what was not read."""
    site = Site(tmp_path, collector, agent="window_bytes = 1048576")
    async with copied_and_truncated(site, collector):
        pass
    collector.acknowledge = True
    async with site.agent():
        await collector.until_rows(20_010)

    assert sorted(numbers(collector)) == [*range(20_000), *range(500_000, 500_010)]


async def test_a_copytruncate_under_a_running_agent_is_read_from_the_copy(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """What was not yet read is read from the copy; the stream says that some may lack."""
    site = Site(tmp_path, collector, agent="window_bytes = 1048576")
    async with copied_and_truncated(site, collector):
        collector.acknowledge = True
        await collector.stop()
        await collector.start(collector.port)
        await collector.until_rows(20_010)
        await collector.until(lambda: len(collector.database.gaps) == 1)

    assert sorted(numbers(collector)) == [*range(20_000), *range(500_000, 500_010)]
    ((_, gap),) = collector.database.gaps.values()
    assert (gap.reason, gap.begin, gap.records) == ("copytruncate", gap.end, 0)


async def test_a_copy_that_is_renamed_while_it_is_sought_is_found(
    tmp_path: Path, collector: FakeCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next rotation comes in the middle of the search for the copy: it is searched again."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", numbered(0, 1000))
    list_all = discovery.siblings
    moved: list[Path] = []

    def listed_and_renamed(paths: Iterable[str]) -> list[str]:
        found = list_all(paths)
        copy = path.with_name("a.log.1")
        if not moved and copy.exists():
            moved.append(copy.rename(path.with_name("a.log.2")))
        return found

    monkeypatch.setattr(discovery, "siblings", listed_and_renamed)
    async with site.agent():
        await collector.until_rows(1000)
        collector.acknowledge = False
        site.write("a.log", numbered(1000, 1010))
        shutil.copy2(path, path.with_name("a.log.1"))
        os.truncate(path, 0)
        site.write("a.log", numbered(5000, 5010))
        collector.acknowledge = True
        await collector.stop()
        await collector.start(collector.port)
        await collector.until_rows(1020)

    assert moved
    assert sorted(numbers(collector)) == [*range(1010), *range(5000, 5010)]


async def test_several_rotations_within_one_look(tmp_path: Path, collector: FakeCollector) -> None:
    """Files that were renamed on and on faster than anybody looks are found by their bytes."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
        for part in range(1, 5):
            for old in range(part, 0, -1):
                source = path.with_name(f"a.{old - 1}.log") if old > 1 else path
                source.rename(path.with_name(f"a.{old}.log"))
            site.write("a.log", numbered(part * 10, part * 10 + 10))
        await collector.until_rows(50)

    assert sorted(numbers(collector)) == [*range(50)]
    assert collector.database.gaps == {}


async def test_several_rotations_while_no_agent_runs(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Each generation is told from the others, and what was not read of each is read."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
    site.write("a.log", numbered(10, 20))
    path.rename(path.with_name("a.2.log"))
    site.write("a.log", numbered(20, 30))
    path.rename(path.with_name("a.1.log"))
    site.write("a.log", numbered(30, 40))
    async with site.agent():
        await collector.until_rows(40)

    assert sorted(numbers(collector)) == [*range(40)]
    assert collector.database.gaps == {}


@pytest.mark.usefixtures("leases")
async def test_what_was_delivered_is_not_read_again_at_the_next_rotation(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A rotated file that was written to late, and has ended, stays delivered when it moves on."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", numbered(0, 10))
    async with site.agent():
        await collector.until_rows(10)
        path.rename(path.with_name("a.log.1"))
        site.write("a.log", numbered(20, 30))
        await collector.until_rows(20)
        site.write("a.log.1", numbered(10, 20))
        await collector.until(
            lambda: any(s.closed for s in collector.database.streams.values()), timeout_s=30
        )
        path.with_name("a.log.1").rename(path.with_name("a.log.2"))
        path.rename(path.with_name("a.log.1"))
        site.write("a.log", numbered(30, 40))
        await collector.until(lambda: 39 in numbers(collector))
        site.write("a.log", numbered(40, 50))
        await collector.until(lambda: 49 in numbers(collector))

    assert sorted(numbers(collector)) == [*range(50)]


async def test_a_copy_beside_a_rotation_is_not_read(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A backup of a file, made between two looks in which it is rotated, is no generation of it."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", numbered(0, 200))
    async with site.agent():
        await collector.until_rows(200)
        shutil.copyfile(path, path.with_name("a.log.bak"))
        path.rename(path.with_name("a.log.1"))
        site.write("a.log", numbered(200, 210))
        await collector.until(lambda: 209 in numbers(collector))
        site.write("a.log", numbered(210, 220))
        await collector.until(lambda: 219 in numbers(collector))

    assert sorted(numbers(collector)) == [*range(220)]


async def test_the_first_line_after_a_rotation_is_whole(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Neither the last line before nor the first after a rotation is lost, cut or joined."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", "x\n")
    wanted = ["x"]
    async with site.agent():
        await collector.until_rows(1)
        for part in range(20):
            first, last = f"first {part} " + "y" * 3000, f"last {part} " + "z" * 3000
            site.write("a.log", last + "\n")
            path.rename(path.with_name(f"a.log.{part}"))
            site.write("a.log", first[:1500])
            site.write("a.log", first[1500:] + "\n")
            wanted += [last, first]
        await collector.until_rows(len(wanted))

    assert sorted(map(str, collector.database.messages())) == sorted(wanted)
    assert collector.database.gaps == {}


@pytest.mark.usefixtures("leases")
async def test_more_files_than_may_be_followed_wait_their_turn(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A file beyond the limit is named, and read when another has ended."""
    site = Site(tmp_path, collector, agent="max_files = 3")
    for name in ("a.log", "b.log"):
        site.write(name, f"{name}\n")
    async with site.agent():
        await collector.until_rows(2)
        site.write("c.log", "c.log\n")
        await collector.until(lambda: any("too many files" in said for said in site.said))
        (site.logs / "a.log").unlink()
        await collector.until(lambda: "c.log" in collector.database.messages(), timeout_s=30)

    assert any("c.log" in said and "agent.max_files" in said for said in site.said)


@pytest.mark.usefixtures("leases")
async def test_a_file_that_is_found_again_after_its_end_goes_on_there(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """Moved away, read to its end and moved back: what was delivered is not sent again."""
    site = Site(tmp_path, collector)
    path = site.write("a.log", numbered(0, 100))
    away = path.with_name("a.away")
    async with site.agent():
        await collector.until_rows(100)
        path.rename(away)
        (stored,) = (s for s in collector.database.streams.values() if s.info.service == "bots")
        await collector.until(lambda: stored.closed, timeout_s=30)
        away.rename(path)
        site.write("a.log", numbered(100, 110))
        await collector.until(lambda: 109 in numbers(collector))

    assert numbers(collector) == [*range(110)]


@pytest.mark.usefixtures("leases")
async def test_a_writer_that_does_not_append_leaves_a_hole_and_no_loss(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """After copytruncate it goes on at its own offset: the file is a hole as large, then lines."""
    site = Site(tmp_path, collector)
    path = site.logs / "a.log"
    with path.open("wb", buffering=0) as file:
        async with site.agent():
            file.write(numbered(0, 60_000).encode())
            await collector.until_rows(60_000)
            shutil.copy2(path, path.with_name("a.log.1"))
            os.truncate(path, 0)
            file.write(numbered(60_000, 60_010).encode())
            await collector.until_rows(60_010)
            file.write(numbered(60_010, 60_020).encode())
            await collector.until_rows(60_020)

    assert numbers(collector) == [*range(60_020)]
    assert path.stat().st_size > 600_000 > path.stat().st_blocks * 512


@pytest.mark.usefixtures("leases")
@pytest.mark.parametrize("few", [False, True], ids=["", "few descriptors"])
async def test_a_link_that_is_swapped_leaves_nothing_behind(
    tmp_path: Path, collector: FakeCollector, monkeypatch: pytest.MonkeyPatch, few: bool
) -> None:
    """What it led to is read to its end, also what is written late; then what it leads to."""
    if few:
        monkeypatch.setattr(adoption, "most_open", lambda: 2)
    site = Site(tmp_path, collector)
    days = [tmp_path / f"day{n}" for n in range(4)]
    for n, day in enumerate(days):
        day.write_text(numbered(n * 10, n * 10 + 9))
    link, fresh = site.logs / "a.log", site.logs / "fresh"
    link.symlink_to(days[0])
    for name in ("b.log", "c.log", "d.log") if few else ():
        site.write(name, "line 1000\n")
    others = 3 if few else 0
    async with site.agent():
        for n, day in enumerate(days):
            await collector.until_rows(others + n * 10 + 9, 30)
            if n < 3:
                fresh.symlink_to(days[n + 1])
                fresh.rename(link)
            with day.open("a") as file:
                file.write(numbered(n * 10 + 9, n * 10 + 10))
        await collector.until_rows(others + 40, 30)

    assert sorted(n for n in numbers(collector) if n < 1000) == [*range(40)]
    assert collector.database.gaps == {}
