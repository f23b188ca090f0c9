"""The tailing of files against a model that knows every line that was ever written.

Files grow, are rotated in each way that is used, and vanish; the agent crashes and stops, has no
collector, no room on its disk, loses answers, and meets a database that was restored. At the end:

* each line is a row, once; more than once only where all further ones are marked as replayed;
* or its file was destroyed before it was read, and a gap says so;
* of each stream, rows and gaps account for every byte up to where Postgres stands.
"""

from __future__ import annotations

import copy
import gzip
import os
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.agent.fake_collector import Database, FakeCollector
from tests.agent.harness import Site
from tests.agent.stepped import TOKEN, Stepped

NAMES = ("a.log", "b.log")
SERVICE = "bots"
READ_S = 0.02
"""Long enough to read what is there, too short to look for files."""
LOOK_S = 0.3
"""Longer than the time between two looks for files."""
SAVED_S = 2.0
"""Longer than it takes until a cache has what a look saw."""


@dataclass(eq=False, repr=False)
class Life:
    """One content of one file, from its first byte to its truncation or deletion."""

    path: Path
    inode: int
    lines: list[tuple[int, str]] = field(default_factory=list)
    """Offset and text of each complete line."""
    partial: str = ""
    size: int = 0
    known: bool = False
    """Whether an agent with a session has looked at it while it had content."""
    destroyed: bool = False
    """Whether bytes that were not read may be gone, or were written where nobody looks."""
    told: bool = True
    """Whether a loss of it must be told."""

    def __repr__(self) -> str:
        """What a failing example shows of it."""
        return f"{self.path.name}: {len(self.lines)} lines"


class Tailing(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="tailing-"))
        self.collector = FakeCollector()
        self.collector.port = 1  # nobody listens, and nobody asks
        self.collector.database.tokens.add(TOKEN)
        self.site = Site(self.root / "host", self.collector, source='format = "plain"')
        self.host = Stepped(self.site, self.collector)
        self.numbers = count()
        self.lives: dict[str, Life] = {}
        """What is at each path now."""
        self.rotated: list[Life] = []
        """Renamed, and still there."""
        self.past: list[Life] = []
        self.packed: list[Life] = []
        """Those of them that are in an archive, and were known by more than their first bytes."""
        self.generations = count(1)
        self.seen: set[str] = set()
        """Names under which the agent has followed a file, and had the time to remember it."""
        self.placed = False
        """Whether this process has had a session and the time to find again what is there."""
        self.backup: Database | None = None

    # ---------------------------------------------------------------- what writers do

    def _line(self) -> str:
        number = next(self.numbers)
        return f"line {number} " + "x" * (number * 37 % 211)

    def _append(self, life: Life, lines: int, *, partial: bool, long: bool = False) -> None:
        data = ""
        for _ in range(lines):
            text, whole = life.partial + self._line(), life.partial
            life.lines.append((life.size - len(whole), text))
            data += text[len(whole) :] + "\n"
            life.size += len(text) - len(whole) + 1
            life.partial = ""
        if partial:
            more = f"part {next(self.numbers)} " + "y" * (300_000 if long else 0)
            life.partial, life.size, data = life.partial + more, life.size + len(more), data + more
        with life.path.open("a") as file:
            file.write(data)

    def _life(self, name: str) -> Life:
        if name not in self.lives:
            path = self.site.logs / name
            path.touch()
            self.lives[name] = Life(path, path.stat().st_ino)
        return self.lives[name]

    @initialize()
    def begin(self) -> None:
        """An agent with a collector."""
        self.host.start()
        self.host.connect()

    @rule(name=st.sampled_from(NAMES), lines=st.integers(0, 30), partial=st.booleans())
    def append(self, name: str, lines: int, partial: bool) -> None:
        """A worker writes; its last line may lack its end."""
        self._append(self._life(name), lines, partial=partial)

    @precondition(lambda self: self.rotated)
    @rule(data=st.data(), lines=st.integers(1, 5))
    def append_late(self, data: st.DataObject, lines: int) -> None:
        """A worker that still has the old file writes to it."""
        life = data.draw(st.sampled_from(self.rotated))
        # Once it has been read to its end and nobody had it open, nobody looks any more.
        life.destroyed, life.told = True, False
        self._append(life, lines, partial=False)

    @precondition(lambda self: self.lives)
    @rule(data=st.data(), compressed=st.booleans())
    def rename(self, data: st.DataObject, compressed: bool) -> None:
        """Rename and create: the usual rotation, with compression or without."""
        self._rename(data.draw(st.sampled_from(sorted(self.lives))), compressed=compressed)

    def _rename(self, name: str, *, compressed: bool) -> None:
        life = self.lives.pop(name)
        target = life.path.with_name(f"{name}.{next(self.generations)}")
        life.path.rename(target)
        life.path = target
        self.rotated.append(life)
        if not life.known and (compressed or name not in self.seen):
            # Renamed out of the globs before anybody saw it, or anything under its name.
            life.destroyed, life.told = True, False
        if compressed:
            self._compress(life)

    @rule(name=st.sampled_from(NAMES), times=st.integers(2, 4))
    def rotate_often(self, name: str, times: int) -> None:
        """Several generations are born and renamed between two looks, if there are looks."""
        for _ in range(times):
            self._append(self._life(name), 3, partial=False)
            self._rename(name, compressed=False)

    @precondition(lambda self: self.host.agent is not None)
    @rule(
        name=st.sampled_from(NAMES),
        times=st.integers(2, 4),
        in_order=st.booleans(),
        connected=st.booleans(),
    )
    def rotate_while_down(self, name: str, times: int, in_order: bool, connected: bool) -> None:
        """The agent rests, ends, and comes back after several rotations."""
        self._append(self._life(name), 3, partial=False)
        self.work(SAVED_S)
        self.end(in_order)
        self.rotate_often(name, times)
        self.start(connected)
        self.work(LOOK_S)

    @precondition(lambda self: self.lives)
    @rule(data=st.data(), copied=st.booleans(), lines=st.integers(0, 40))
    def truncate(self, data: st.DataObject, copied: bool, lines: int) -> None:
        """Truncate, perhaps after a copy was made, and go on in the same file."""
        self._truncate(data.draw(st.sampled_from(sorted(self.lives))), copied=copied, lines=lines)

    def _copy(self, path: Path) -> None:
        shutil.copy2(path, f"{path}.{next(self.generations)}")

    def _truncate(self, name: str, *, copied: bool, lines: int) -> None:
        life = self.lives.pop(name)
        if copied:
            self._copy(life.path)
        # A copy is not sought for a file that has no stream, nor by one that repeats.
        self._destroy(life)
        path = life.path
        before = path.stat().st_mtime_ns
        os.truncate(path, 0)
        fresh = self.lives[name] = Life(path, life.inode)
        self._append(fresh, lines, partial=False)
        # Within one tick of the clock neither size nor time need differ.
        os.utime(path, ns=(before, max(before + 5_000_000, path.stat().st_mtime_ns)))

    @precondition(lambda self: self.lives or self.rotated)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Delete a file, whoever reads it."""
        life = data.draw(st.sampled_from([*self.lives.values(), *self.rotated]))
        life.path.unlink()
        if life in self.rotated:
            self.rotated.remove(life)
        else:
            del self.lives[life.path.name]
        if self.placed and life.known:
            self.past.append(life)  # held by its descriptor: nothing is lost, unless a crash comes
            return
        self._destroy(life)

    def _compress(self, life: Life) -> None:
        """Compress a rotated file, whether or not anybody has it open."""
        status = life.path.stat()
        packed = life.path.with_name(f"{life.path.name}.gz")
        packed.write_bytes(gzip.compress(life.path.read_bytes(), mtime=0))
        os.utime(packed, ns=(status.st_atime_ns, status.st_mtime_ns))
        life.path.unlink()
        self.rotated.remove(life)
        self.past.append(life)
        stored = {row.message for row in self.collector.database.rows}
        if any(text in stored for _, text in life.lines):
            self.packed.append(life)
        elif self.host.agent is None:
            life.destroyed = True  # only its first bytes are known

    def _destroy(self, life: Life) -> None:
        life.told = life.told and life.known
        life.destroyed = True
        self.past.append(life)

    # ---------------------------------------------------------------- what happens to the agent

    @precondition(lambda self: self.host.agent is not None)
    @rule(seconds=st.sampled_from([0.02, 0.3, 2.0, 11.0]))
    def work(self, seconds: float) -> None:
        """Time passes."""
        self.host.step(seconds)
        if seconds >= LOOK_S:
            # One look finds that a file was replaced, the next makes a stream of what it is now.
            self.host.step(LOOK_S)
            self.host.step(LOOK_S)
        self._note_known(seconds)

    def _note_known(self, seconds: float) -> None:
        if not self.host.connected or self.host.full or seconds < LOOK_S:
            return
        self.placed = True
        for name, life in self.lives.items():
            life.known = life.known or life.size > 0
            if life.known and seconds >= SAVED_S:
                self.seen.add(name)

    @precondition(lambda self: self.host.agent is not None)
    @rule(in_order=st.booleans())
    def end(self, in_order: bool) -> None:
        """The agent stops, or is killed; or has no room to keep what its descriptors held."""
        self.placed = False
        if in_order:
            self.host.stop()
        else:
            self.host.crash()
        if not in_order or self.host.full:
            for life in self.past:
                life.destroyed = life.destroyed or life not in self.packed

    @precondition(lambda self: self.host.agent is None)
    @rule(connected=st.booleans())
    def start(self, connected: bool) -> None:
        """The agent starts again."""
        self.host.start()
        if connected:
            self.host.connect()

    @precondition(lambda self: self.host.agent is not None)
    @rule(connected=st.booleans(), lost=st.booleans())
    def network(self, connected: bool, lost: bool) -> None:
        """The collector goes away, comes back, takes batches and says nothing."""
        self.host.disconnect()
        self.collector.lose_answers = connected and lost
        if connected:
            self.host.connect()

    @rule(full=st.booleans())
    def disk(self, full: bool) -> None:
        """The disk of the agent's state has no room, or some again."""
        self.host.full = full

    @rule()
    def back_up(self) -> None:
        """Somebody copies the database."""
        self.backup = copy.deepcopy(self.collector.database)

    @precondition(lambda self: self.backup is not None)
    @rule()
    def restore(self) -> None:
        """The database is what it was; what ended meanwhile is nowhere any more."""
        assert self.backup is not None
        self.host.disconnect()
        if self.host.agent is not None:
            self.host.step(READ_S)  # what an earlier welcome named is not named by the next
        self.collector.database = copy.deepcopy(self.backup)
        for life in (*self.past, *self.rotated):
            life.destroyed, life.told = True, False
        self.seen.clear()
        for life in self.lives.values():
            life.known = False  # its stream may be younger than the copy
        if self.host.agent is not None:
            self.host.connect()

    # ---------------------------------------------------------------- what must be so

    @invariant()
    def nothing_is_stored_twice(self) -> None:
        """Also before all is delivered."""
        rows = self.collector.database.rows
        assert not [
            t for t, n in Counter(r.message for r in rows if not r.replayed).items() if n > 1
        ]

    def teardown(self) -> None:
        """All trouble ends; then every line is accounted for."""
        try:
            self._settle()
            self._judge()
        finally:
            if self.host.agent is not None:
                self.host.crash()
            shutil.rmtree(self.root, ignore_errors=True)

    def _settle(self) -> None:
        self.host.full = self.collector.lose_answers = False
        if self.host.agent is None:
            self.host.start()
        self.host.disconnect()
        self.host.connect()
        self.host.settle()

    def _judge(self) -> None:
        database = self.collector.database
        self.nothing_is_stored_twice()
        stored = {row.message for row in database.rows}
        for life in (*self.lives.values(), *self.rotated, *self.past):
            missing = [(offset, text) for offset, text in life.lines if text not in stored]
            if not missing:
                continue
            assert life.destroyed, (life.path.name, missing[:3], self.host.said)
            assert not life.told or self._is_told(life, missing[0][0]), (
                life.path.name,
                missing[:3],
            )
        for stream_id, stored_stream in database.streams.items():
            if stored_stream.info.service == SERVICE:
                self._account(stream_id)

    def _is_told(self, life: Life, offset: int) -> bool:
        database = self.collector.database
        return any(
            database.streams[stream_id].info.inode == life.inode and gap.begin <= offset
            for stream_id, gap in database.gaps.values()
        )

    def _account(self, stream_id: int) -> None:
        """Rows and gaps follow each other without a hole, up to where the stream stands."""
        database = self.collector.database
        stream = database.streams[stream_id]
        rows = sorted((r.offset, r.message or "") for r in database.rows if r.stream == stream_id)
        place = stream.info.start_offset
        for offset, text in rows:
            assert offset == place, (stream.info.path, offset, place)
            place = offset + len(text) + 1
        end = stream.committed - (1 if stream.closed else 0)
        # A last line that was never finished has no newline.
        assert end in {place, place - 1}, (stream.info.path, place, end)


@pytest.mark.usefixtures("leases")
def test_every_byte_is_a_row_or_a_gap_whatever_happens() -> None:
    """Any order of growth, rotation, deletion, crash, outage, full disk and restored database."""
    run_state_machine_as_test(
        Tailing,
        settings=settings(
            max_examples=80,
            stateful_step_count=25,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
