"""Files that rotation compressed before they were delivered: the rest is in the archive."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest
import zstandard

from outrider_agent import archives, check, configuration, explain, unpacking
from tests.agent.harness import numbered
from tests.agent.stepped import Stepped, connected_host, new_host

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KINDS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


@pytest.fixture
def host(tmp_path: Path) -> Stepped:
    """A host whose agent has delivered ten lines of `a.log` and is down."""
    made = connected_host(tmp_path / "host", "window_bytes = 1048576")
    made.site.write("a.log", numbered(0, 10))
    made.settle()
    made.stop()
    return made


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is a few hundred lines, and comes in many steps."""
    monkeypatch.setattr(unpacking, "_LEAST_PART_BYTES", 5000)
    monkeypatch.setattr(unpacking, "_MOST_PART_BYTES", 5000)
    monkeypatch.setattr(unpacking, "_STEP_BYTES", 1)
    monkeypatch.setattr(archives, "PIECE_BYTES", 1500)
    monkeypatch.setattr(archives, "_INPUT_BYTES", 200)


def compressed(path: Path, suffix: str = ".gz", name: str = "") -> Path:
    """Do what logrotate's `compress` does: the file is gone, its content and time are there."""
    status, target = path.stat(), path.with_name((name or path.name) + suffix)
    target.write_bytes(KINDS[suffix](path.read_bytes()))
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    path.unlink()
    return target


def back(host: Stepped, *, settle: int = 1) -> None:
    """Start the agent again, with a collector."""
    host.start()
    host.connect()
    for _ in range(settle):
        host.settle()


def stored(host: Stepped) -> list[str | None]:
    """All lines, in the order in which they were stored."""
    return host.collector.database.messages()


def lines(first: int, last: int) -> list[str]:
    """What is stored of numbered lines."""
    return numbered(first, last).splitlines()


@pytest.mark.usefixtures("leases")
@pytest.mark.parametrize("suffix", KINDS)
def test_the_rest_of_a_compressed_file_goes_on_in_its_stream(host: Stepped, suffix: str) -> None:
    """Rotated and compressed while no agent ran: at the same offset, nothing twice, no gap."""
    path = host.site.write("a.log", numbered(10, 3000))
    size = path.stat().st_size
    compressed(path, suffix, "a.log.1")
    host.site.write("a.log", numbered(3000, 3010))
    back(host)
    host.crash()
    database = host.collector.database

    assert sorted(map(str, stored(host))) == sorted(lines(0, 3010))
    assert not any(row.replayed for row in database.rows)
    assert database.gaps == {}
    old = [s for s in database.streams.values() if s.closed and s.info.service == "bots"]
    assert [s.committed for s in old] == [size + 1]
    assert [*(host.site.state_dir / "keep").iterdir()] == []


@pytest.mark.usefixtures("leases", "small_parts")
@pytest.mark.parametrize("crash_after", [None, 3, 9, 25])
def test_a_large_one_is_unpacked_in_parts(host: Stepped, crash_after: int | None) -> None:
    """No part is more than a few bytes on the disk; a crash in the middle changes nothing."""
    members = [numbered(first, first + 500) for first in range(10, 5010, 500)]
    path = host.site.write("a.log", members[0])
    whole = path.read_bytes() + "".join(members[1:]).encode()
    path.write_bytes(whole)
    target = compressed(path)
    target.write_bytes(gzip.compress(whole[:7000]) + gzip.compress(whole[7000:]))
    host.start()
    host.connect()
    largest = 0
    for step in range(400):
        host.step(0.3)
        kept = host.site.state_dir / "keep"
        parts = [p.stat().st_blocks * 512 for p in kept.iterdir()] if kept.exists() else [0]
        largest = max(largest, sum(parts))
        if step == crash_after:
            host.crash()
            host.start()
            host.connect()
    host.settle()
    host.crash()

    assert stored(host) == lines(0, 5010)
    assert host.collector.database.gaps == {}
    assert 0 < largest < 40_000 < len(whole)


@pytest.mark.usefixtures("leases")
def test_other_archives_are_left_alone(host: Stepped) -> None:
    """An older generation, a foreign file with the same head, and what is no archive at all."""
    path = host.site.write("a.log", numbered(10, 200))
    head = path.read_text()[:1200]
    back(host)
    host.stop()
    host.site.write("a.log", numbered(200, 500))
    compressed(host.site.write("older.log", numbered(0, 7)), name="a.log.3")
    compressed(host.site.write("foreign.log", head + numbered(900, 1000)), name="a.log.2")
    host.site.write("a.log.0.gz", b"\x1f\x8b broken \n")
    compressed(path, name="a.log.1")
    back(host)
    host.crash()

    assert stored(host) == lines(0, 500)
    assert host.collector.database.gaps == {}


@pytest.mark.usefixtures("leases")
@pytest.mark.parametrize("stored_first", [True, False])
def test_a_damaged_archive_is_a_gap_behind_what_could_be_read(
    host: Stepped, stored_first: bool
) -> None:
    """The gap names the archive and what is wrong; what came before the damage is stored."""
    path = host.site.write("a.log", numbered(10, 50_000))
    if stored_first:
        back(host)
        host.stop()
        host.site.write("a.log", numbered(50_000, 90_000))
    target = compressed(path)
    data = target.read_bytes()
    target.write_bytes(data[: len(data) * 3 // 4] if stored_first else data[:-8])
    back(host, settle=2)
    host.crash()
    database = host.collector.database
    ((_, gap),) = database.gaps.values()

    assert stored(host)[:50_000] == lines(0, 50_000)
    assert (gap.reason, gap.records) == ("damaged", 1 if stored_first else 0)
    assert str(target) in gap.detail and "before its content does" in gap.detail
    assert [s.closed for s in database.streams.values() if s.info.service == "bots"] == [True]


@pytest.mark.usefixtures("leases", "small_parts")
def test_an_archive_that_goes_away_half_read_is_a_gap(host: Stepped) -> None:
    """Its lines are no silence: what was unpacked arrives, the rest is told."""
    target = compressed(host.site.write("a.log", numbered(10, 3000)))
    host.start()
    host.connect()
    host.step(0.3)
    host.crash()
    target.unlink()
    back(host, settle=2)
    host.crash()
    ((_, gap),) = host.collector.database.gaps.values()

    assert stored(host) == lines(0, len(stored(host)))
    assert len(stored(host)) < 3000
    assert gap.reason == "vanished"


@pytest.mark.usefixtures("leases")
def test_a_copy_that_was_compressed_at_once_has_what_was_not_read(host: Stepped) -> None:
    """Copytruncate and compress between two looks, while the collector is away."""
    host.site.write("a.log", "first of a kind " + numbered(10, 400))
    back(host)
    host.disconnect()
    path = host.site.write("a.log", numbered(400, 60_000))
    host.settle()
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    compressed(copy, name="a.log.1")
    os.truncate(path, 0)
    host.site.write("a.log", numbered(70_000, 70_010))
    host.settle()
    host.connect()
    host.settle()
    host.settle()
    host.crash()
    reasons = [gap.reason for _, gap in host.collector.database.gaps.values()]

    expected = [*lines(0, 10), "first of a kind line 10", *lines(11, 60_000)]
    assert sorted(map(str, stored(host))) == sorted([*expected, *lines(70_000, 70_010)])
    assert reasons == ["copytruncate"]


@pytest.mark.usefixtures("leases")
def test_a_bomb_is_given_up(host: Stepped, monkeypatch: pytest.MonkeyPatch) -> None:
    """What expands beyond all measure is a gap; the agent and its disk live on."""
    monkeypatch.setattr(unpacking, "MOST_BYTES", 3 << 20)
    path = host.site.write("a.log", bytes(8 << 20))
    compressed(path)
    back(host, settle=2)
    host.site.write("b.log", numbered(20, 30))
    host.settle()
    host.crash()
    ((_, gap),) = host.collector.database.gaps.values()

    assert gap.reason == "damaged" and "more than" in gap.detail
    assert stored(host)[-10:] == lines(20, 30)


@pytest.mark.usefixtures("leases", "small_parts")
@pytest.mark.parametrize(("held_bytes", "files"), [(6000, 1), (20_000, 1), (30_000, 6)])
def test_parts_that_are_delivered_hold_nothing_up(
    tmp_path: Path, held_bytes: int, files: int
) -> None:
    """With room for a part and a bit, and for fewer parts than there are archives, all arrives."""
    settings = f"window_bytes = 1048576\nheld_bytes = {held_bytes}"
    host = new_host(tmp_path / "host", settings)
    back(host)
    for n in range(files):
        host.site.write(f"{n}.log", numbered(0, 10).replace("line", f"{n} line"))
    host.settle()
    host.stop()
    for n in range(files):
        path = host.site.write(f"{n}.log", numbered(10, 1500).replace("line", f"{n} line"))
        compressed(path)
    host.start()
    host.connect()
    keep, most = host.site.state_dir / "keep", 0
    for _ in range(100 * files):
        host.step(1.0)
        most = max(most, sum(path.suffix != ".more" for path in keep.glob("*")))
    host.crash()

    wanted = [f"{n} {line}" for n in range(files) for line in lines(0, 1500)]
    assert sorted(map(str, stored(host))) == sorted(wanted)
    assert host.collector.database.gaps == {}
    assert most <= 2 + held_bytes // 8192  # the smallest part takes so much


@pytest.mark.usefixtures("leases")
def test_without_room_it_waits(host: Stepped, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost by a full disk: the archive keeps it until there is room."""
    compressed(host.site.write("a.log", numbered(10, 500)))
    monkeypatch.setattr(unpacking, "_LEAST_PART_BYTES", 1 << 60)
    back(host)
    waiting = [*stored(host)], dict(host.collector.database.gaps)
    said = [line for line in host.said if "waits for room" in line]
    monkeypatch.undo()
    host.settle()
    host.crash()

    assert waiting == (lines(0, 10), {})
    assert len(said) == 1
    assert stored(host) == lines(0, 500)
    assert host.collector.database.gaps == {}


def test_people_are_told_when_an_archive_is_read(host: Stepped) -> None:
    """`check` counts those that a pattern matches, `explain` says it of one."""
    packed = compressed(host.site.write("z.log", numbered(0, 3)))
    config = configuration.load(host.site.config_file, {})
    source = msgspec.structs.replace(config.agent.source[0], paths=(f"{host.site.logs}/*",))
    config = replace(config, agent=msgspec.structs.replace(config.agent, source=(source,)))
    said: list[str] = []
    check.run(config, said.append)
    explain.run(config, str(packed), said.append)
    text = "".join(said)

    assert f"/*: 1 file, 1 compressed: {check.READ_FROM_ARCHIVES}" in text
    assert f"leaves it alone: it is compressed, {check.READ_FROM_ARCHIVES}" in text
