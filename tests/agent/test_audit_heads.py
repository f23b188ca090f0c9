"""Heads of the audit log are on the agent's disk, and a contradiction is not lost."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from outrider_agent.audit_heads import NEWEST, AuditHead, AuditHeads, kept, read
from outrider_agent.identity import Identity
from tests.agent.harness import Site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.fake_collector import FakeCollector

NOON = "2026-11-29T12:00:00Z"
ONE, OTHER = b"\x01" * 32, b"\x02" * 32


def test_heads_are_kept_once_and_survive_a_restart_and_junk(tmp_path: Path) -> None:
    """Told twice, written once; what is no head, on the wire or in the file, changes nothing."""
    Identity(tmp_path)
    heads = AuditHeads(tmp_path)
    for number, root in ((1, ONE), (1, ONE), (0, ONE), (2, b"short"), (2, OTHER)):
        assert heads.contradicted(number, root) is None
        heads.keep(number, root, NOON)
    expected = f"1:{'01' * 32} {NOON}\n2:{'02' * 32} {NOON}\n"
    path = tmp_path / "identity" / "audit_heads"
    assert path.read_text() == expected
    assert path.stat().st_mode & 0o777 == 0o600

    path.write_text(expected + "junk\n3:zz\n", encoding="latin-1")
    AuditHeads(tmp_path).keep(3, ONE, NOON)
    assert [head.number for head in read(tmp_path)] == [1, 2, 3]


def test_two_roots_for_one_seal_are_both_kept(tmp_path: Path) -> None:
    """The first root is answered, so that it can be told, once; both stand in the file."""
    Identity(tmp_path)
    heads = AuditHeads(tmp_path)
    heads.keep(7, ONE, NOON)
    assert heads.contradicted(7, OTHER) == AuditHead(7, ONE, NOON)
    heads.keep(7, OTHER, NOON)
    assert heads.contradicted(7, OTHER) is None
    assert [head.root for head in read(tmp_path)] == [ONE, OTHER]


def test_a_head_that_finds_no_room_is_kept_when_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it is new, and what it contradicts is told, whether it can be kept or not."""
    Identity(tmp_path)
    heads = AuditHeads(tmp_path)
    heads.keep(7, ONE, NOON)

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            heads.keep(7, OTHER, NOON)
    assert heads.contradicted(7, OTHER) == AuditHead(7, ONE, NOON)
    heads.keep(7, OTHER, NOON)
    assert [head.root for head in read(tmp_path)] == [ONE, OTHER]


async def test_only_another_root_is_told_as_tampering(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A head that cannot be kept is a matter of the agent's disk."""

    def told(event: str) -> list[str]:
        return [str(row.message) for row in collector.database.own_rows if row.event == event]

    site = Site(tmp_path, collector)
    in_the_way = tmp_path / "agent" / "identity" / ".audit_heads.new"
    in_the_way.mkdir(parents=True)
    collector.audit_head = (7, ONE)
    async with site.agent():
        await collector.until(lambda: bool(told("pipeline.rejected")))
        assert "cannot keep a head of the audit log, is a directory: " in "".join(site.said)
        assert told("audit.verification_failed") == []
        in_the_way.rmdir()
        await collector.until(lambda: bool(read(site.state_dir)))
        collector.audit_head = (7, OTHER)
        await collector.until(lambda: bool(told("audit.verification_failed")))


def test_of_old_heads_the_first_of_each_day_stay_and_what_contradicts() -> None:
    """The file has an end, whatever collectors show."""
    heads = [
        AuditHead(day * 1_000 + n, ONE, f"2026-01-{day:02}T00:00:00Z")
        for day in range(1, 29)
        for n in range(100)
    ]
    contradiction = AuditHead(1_050, OTHER, "2026-01-28T00:00:00Z")
    left = kept([*heads, contradiction])
    assert left[-NEWEST:] == [*heads, contradiction][-NEWEST:]
    assert [head.number for head in left[:3]] == [1_000, 1_050, 2_000]
    assert len(left) == NEWEST + 25
