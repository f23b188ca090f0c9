"""Files that have the very bytes of earlier ones are files of their own: a worker dies alike."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from outrider.command import DONE, FOUND
from outrider_agent import configuration, explain
from tests.agent.harness import reborn
from tests.agent.stepped import Stepped, connected_host

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("leases")

TRACEBACK = "Traceback (most recent call last):\n" + "".join(
    f'  File "/srv/app/module_{n}.py", line {n * 7}, in function_number_{n}\n' for n in range(20)
)
LINES = TRACEBACK.count("\n")


@pytest.fixture
def host(tmp_path: Path) -> Stepped:
    """A host whose agent runs and has a session."""
    made = connected_host(tmp_path / "host")
    made.now = time.time()  # ages of files count here
    return made


def stored(host: Stepped) -> int:
    """How many lines are stored and not marked as replayed."""
    return sum(not row.replayed for row in host.collector.database.rows)


def give_inode(host: Stepped, path: Path) -> None:
    """Let a file have the inode of the one whose stream has ended, as a file system may."""
    assert host.agent is not None
    delivered = host.agent._files._adoption._found.history.delivered
    (key,) = delivered
    status = path.stat()
    delivered[status.st_dev, status.st_ino] = delivered.pop(key)


@pytest.mark.parametrize("killed", [False, True])
def test_a_new_file_does_not_take_the_stream_of_one_that_was_renamed_beside_it(
    host: Stepped, killed: bool
) -> None:
    """While no agent ran the worker died as before: the renamed file has the stream."""
    log = host.site.write("a.log", TRACEBACK)
    host.work()
    host.end(killed=killed)
    log.rename(log.with_name("a.log.1"))
    host.site.write("a.log", TRACEBACK)
    host.start()
    host.connect()
    host.settle()

    assert stored(host) == len(host.collector.database.rows) == 2 * LINES
    assert host.collector.database.gaps == {}


@pytest.mark.parametrize("times", [1, 2])
def test_a_file_under_the_inode_of_one_that_was_deleted_is_another(
    host: Stepped, times: int
) -> None:
    """A start script removes the log, the worker dies as before: each time all is stored."""
    log = host.site.write("a.log", TRACEBACK)
    host.work()
    log.unlink()
    host.settle()
    host.site.write("a.log", TRACEBACK * times)
    give_inode(host, log)
    host.settle()

    assert stored(host) == len(host.collector.database.rows) == (1 + times) * LINES
    assert host.collector.database.gaps == {}


def test_a_file_under_an_old_inode_that_is_as_long_as_before_is_read_again(host: Stepped) -> None:
    """Rotated, ended and deleted afterwards: by its bytes it may be either, so it is marked."""
    log = host.site.write("a.log", TRACEBACK)
    host.work()
    old = log.rename(log.with_name("a.log.1"))
    host.settle()
    old.unlink()
    host.site.write("a.log", TRACEBACK)
    give_inode(host, log)
    host.settle()

    assert len(host.collector.database.rows) == 2 * LINES
    assert host.collector.database.gaps == {}


def test_explain_takes_no_file_for_an_earlier_one_of_its_inode(host: Stepped) -> None:
    """What compressed a file may have its inode: that is not what was read to its end."""
    log = host.site.write("a.log", TRACEBACK)
    host.work()
    old = log.rename(log.with_name("a.log.1"))
    host.settle()
    host.step(2.0)
    host.stop()
    config = configuration.load(host.site.config_file, {})
    said: list[str] = []
    assert explain.run(config, str(old), said.append) == DONE
    assert f"it was read to its end, {len(TRACEBACK)} bytes" in "".join(said)

    archive = old.with_name("a.log.1.gz")
    reborn(old, archive, "another content\n")
    said.clear()
    assert explain.run(config, str(archive), said.append) == FOUND
    assert "read to its end" not in "".join(said)
