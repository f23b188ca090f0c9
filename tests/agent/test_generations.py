"""Files that were born and renamed where nobody looked: while no agent ran, or none could read."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from outrider.command import FOUND
from outrider_agent import adoption, configuration, explain
from outrider_agent.rotated_names import homes, rotated_names
from tests.agent.harness import numbered
from tests.agent.stepped import Stepped, new_host

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("leases")

LINES = 100


@pytest.fixture
def host(tmp_path: Path) -> Stepped:
    """A host whose agent is not started yet, with files that are older than any look."""
    made = new_host(tmp_path / "host")
    made.now = time.time()  # ages of files count here
    return made


class Writer:
    """Writes numbered lines to one path, and rotates it as logrotate does."""

    def __init__(self, host: Stepped, name: str = "b.log") -> None:
        self.host, self.name = host, name
        self.path = host.site.logs / name
        self.written = 0

    def write(self) -> None:
        """Write some lines."""
        self.host.site.write(self.name, numbered(self.written, self.written + LINES))
        self.written += LINES

    def rotate(self, times: int = 3) -> None:
        """Rename all generations to the next number, and write to a new file, so many times."""
        for _ in range(times):
            for age in range(100, 0, -1):
                old = self.path.with_name(f"{self.name}.{age}")
                if old.exists():
                    old.rename(self.path.with_name(f"{self.name}.{age + 1}"))
            self.path.rename(self.path.with_name(f"{self.name}.1"))
            self.write()

    @property
    def stored(self) -> list[int]:
        """The numbers of the stored lines, sorted."""
        rows = self.host.collector.database.rows
        return sorted(int((row.message or "").split()[1]) for row in rows)


def settled(host: Stepped) -> None:
    """Let everything come to rest, more than once: what ends makes room for others."""
    for _ in range(3):
        host.settle()


@pytest.mark.parametrize("killed", [False, True])
def test_what_is_rotated_several_times_while_no_agent_runs_is_read(
    host: Stepped, killed: bool
) -> None:
    """Files that were born and renamed out of the globs meanwhile are read, whole and once."""
    writer = Writer(host)
    writer.write()
    host.restart()
    settled(host)
    for _ in range(3):
        host.end(killed=killed)
        writer.rotate()
        host.restart()
        settled(host)

    database = host.collector.database
    assert writer.stored == [*range(writer.written)]
    assert not any(row.replayed for row in database.rows)
    assert database.gaps == {}
    assert {s.info.worker for s in database.streams.values() if s.info.service == "bots"} == {"b"}


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("met", [False, True], ids=["never a collector", "a collector before"])
def test_what_is_rotated_while_no_collector_is_there_is_read_after_restarts(
    host: Stepped, killed: bool, met: bool
) -> None:
    """What an agent has found and could not begin with is found again, under whatever name."""
    writer = Writer(host)
    writer.write()
    host.restart(connected=met)
    settled(host)
    host.disconnect()
    for _ in range(3):
        writer.rotate()
        settled(host)
        host.restart(killed=killed, connected=False)
        writer.rotate()
        settled(host)
    host.connect()
    settled(host)

    assert writer.stored == [*range(writer.written)]
    assert host.collector.database.gaps == {}


def test_files_that_wait_for_a_descriptor_are_read_wherever_they_are_by_then(
    host: Stepped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More files than may be open, each renamed out of the globs while it waits."""
    monkeypatch.setattr(adoption, "most_open", lambda: 4)
    host.restart(connected=False)
    writers = [Writer(host, f"w{n}.log") for n in range(30)]
    for n, writer in enumerate(writers):
        writer.written = n * 1000
        writer.write()
    host.step(0.3)
    for writer in writers:
        writer.path.rename(writer.path.with_name(f"{writer.name}.1"))
    host.step(0.3)
    for writer in writers:
        writer.write()
    host.connect()
    for _ in range(12):
        host.settle()

    assert writers[0].stored == [n * 1000 + i for n in range(30) for i in range(2 * LINES)]
    assert host.collector.database.gaps == {}


def test_what_was_there_before_is_no_generation(host: Stepped) -> None:
    """Neither what is older than the agent, nor what it delivered, nor a backup of that is read."""
    old = host.site.write("b.log.9", "old 9\n" * 200)
    os.utime(old, (time.time() - 3600,) * 2)
    writer = Writer(host)
    writer.write()
    host.restart()
    settled(host)
    writer.rotate(1)
    settled(host)
    host.stop()
    shutil.copyfile(writer.path, host.site.logs / "b.log.bak")
    shutil.copyfile(host.site.logs / "b.log.1", host.site.logs / "b.log.1.old")
    os.utime(host.site.logs / "b.log.1")
    host.site.write("b.log.html", "no line of it\n")
    writer.rotate(2)
    host.restart()
    settled(host)

    assert writer.stored == [*range(writer.written)]


def test_copies_of_a_truncated_file_are_generations(host: Stepped) -> None:
    """Copied and truncated several times while no agent runs: each copy is read."""
    writer = Writer(host)
    for _ in range(3):
        writer.write()
    host.restart()
    settled(host)
    host.stop()
    for age in (3, 2, 1):
        writer.write()
        shutil.copyfile(writer.path, host.site.logs / f"b.log.{age}")
        os.truncate(writer.path, 0)
    writer.write()
    host.restart()
    settled(host)

    assert writer.stored == [*range(writer.written)]


def test_without_its_cache_an_agent_goes_by_the_file_that_it_followed(host: Stepped) -> None:
    """What is younger than the file that is found again elsewhere was born after it."""
    writer = Writer(host)
    writer.write()
    host.restart()
    settled(host)
    host.stop()
    (host.site.state_dir / "cache.json").unlink()
    writer.rotate()
    host.restart()
    settled(host)

    assert writer.stored == [*range(writer.written)]


def test_names_that_rotation_gives() -> None:
    """A number, a time or a word behind the name or before its suffix; nothing else."""
    rotated = ["/l/b-1.log", "/l/b.1.log", "/l/b.log-2026", "/l/b.log.1", "/l/b.log.old"]
    others = ["/l/b.log", "/l/b.login.1", "/l/b.txt.1", "/l/b2.log", "/l/b.log.html", "/l/c.log.1"]
    assert list(rotated_names("/l/b.log", sorted(rotated + others))) == rotated


def test_a_rotated_name_says_of_which_path_it_may_be() -> None:
    """As the agent looks from the path to its generations, so `explain` looks back."""
    assert "/l/b.log" in homes("/l/b.log.1")
    assert "/l/b.log" in homes("/l/b-2026-11-30.log")
    assert homes("/l/b.log") == []


def test_explain_names_the_path_of_a_rotated_file(host: Stepped) -> None:
    """What no source matches, and may be a generation, is said to be one, and when it is read."""
    host.site.write("b.log.3", "line\n")
    said: list[str] = []
    config = configuration.load(host.site.config_file, {})
    assert explain.run(config, str(host.site.logs / "b.log.3"), said.append) == FOUND
    assert f"rotated      by its name from {host.site.logs}/b.log: read if it was" in "".join(said)
