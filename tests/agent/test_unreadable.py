"""Files that cannot be read: one message with what to do, and no harm to any other."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from outrider_agent.registry import Candidate, Minter
from tests.agent.harness import Site, looked_anew, numbered

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from outrider_agent.streams import Stream
    from tests.agent.fake_collector import FakeCollector


async def test_what_cannot_be_read_is_said_once_and_watched(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A directory in a file's place is one message with what to do, and harms no other file."""
    site = Site(tmp_path, collector)
    (site.logs / "dir.log").mkdir()
    (site.logs / "dangling.log").symlink_to(site.logs / "nowhere")
    site.write("a.log", numbered(0, 3))
    async with site.agent():
        await collector.until_rows(3)
        (site.logs / "dir.log").rmdir()
        site.write("dir.log", "now a file\n")
        await collector.until(lambda: "now a file" in collector.database.messages())

    told = [line for line in site.said if "dir.log" in line]
    assert len([line for line in told if "it is a directory" in line]) == 1
    assert "name the files in it" in told[0]


async def test_a_file_whose_reads_fail_is_said_once(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """One message with what to do, however often it is tried; other files are read."""
    site = Site(tmp_path, collector)
    (site.logs / "mem.log").symlink_to("/proc/self/mem")
    site.write("a.log", numbered(0, 3))
    async with site.agent() as agent:
        await collector.until_rows(3)
        await collector.until(lambda: any("mem.log" in line for line in site.said))
        await looked_anew(agent)
        site.write("b.log", "one more\n")
        await collector.until_rows(4)

    (told,) = [line for line in site.said if "mem.log" in line]
    assert "input/output error" in told
    assert "name files that can be read, or exclude it" in told


async def test_a_file_that_fails_as_it_is_taken_up_holds_no_other_up(
    tmp_path: Path, collector: FakeCollector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that fails between opening a file and its first line concerns that file alone."""
    site = Site(tmp_path, collector)
    taken, broken = Minter.stream, [True]

    def stream(self: Minter, candidate: Candidate, now_s: float) -> Stream:
        if broken and candidate.found.path.endswith("a.log"):
            raise OSError(errno.EIO, "Input/output error")
        return taken(self, candidate, now_s)

    monkeypatch.setattr(Minter, "stream", stream)
    site.write("a.log", "from a\n")
    site.write("b.log", "from b\n")
    async with site.agent():
        await collector.until(lambda: collector.database.messages() == ["from b"])
        broken.clear()
        await collector.until(lambda: collector.database.messages() == ["from b", "from a"])

    (told,) = [line for line in site.said if "input/output error" in line]
    assert "a.log" in told
