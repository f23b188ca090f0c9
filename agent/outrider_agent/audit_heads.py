"""Heads of the collector's audit log, kept where whoever writes the database cannot reach.

A head is a seal's number and the root of everything sealed up to it. Collectors show their newest
with each answer to a heartbeat; the agent keeps it in ``identity/audit_heads``, one a line, number
and root first, as ``outrider audit verify --heads FILE`` reads them. It is on the disk before the
next is looked at.

What is kept: the newest :data:`NEWEST`, and of the time before the first of each day. Two roots for
one seal are both kept, of so many seals: they prove that the log was written anew.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from outrider_agent.journal import sync_directory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NEWEST: Final = 500
DAYS: Final = 400
CONTRADICTED: Final = 100
_ROOT_BYTES: Final = 32
_LINE: Final = re.compile(r"(\d{1,19}):([0-9a-f]{64}) (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")


class AuditHead(NamedTuple):
    """A head, and when this agent heard of it: UTC, ``2026-11-29T10:00:00Z``."""

    number: int
    root: bytes
    heard_at: str

    def __str__(self) -> str:
        return f"{self.number}:{self.root.hex()}"


class AuditHeads:
    """The heads of one agent."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "identity" / "audit_heads"
        self._heads = read(state_dir)

    def contradicted(self, number: int, root: bytes) -> AuditHead | None:
        """Return the head that this one, not kept yet, contradicts."""
        same = [head for head in self._heads if head.number == number]
        return same[0] if same and self._is_new(number, root) else None

    def keep(self, number: int, root: bytes, now: str) -> None:
        """Keep a head, on the disk when this returns.

        Raises OSError where it cannot be kept: it is new still when it is shown again.
        """
        if self._is_new(number, root):
            heads = kept([*self._heads, AuditHead(number, root, now)])
            self._write(heads)
            self._heads = heads

    def _is_new(self, number: int, root: bytes) -> bool:
        if number <= 0 or len(root) != _ROOT_BYTES:
            return False
        return not any(head.number == number and head.root == root for head in self._heads)

    def _write(self, heads: Sequence[AuditHead]) -> None:
        draft = self._path.with_name(".audit_heads.new")
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.writelines(f"{head} {head.heard_at}\n" for head in heads)
            file.flush()
            os.fsync(fd)
        draft.replace(self._path)
        sync_directory(self._path.parent)


def kept(heads: Sequence[AuditHead]) -> list[AuditHead]:
    """Return which of the heads are kept, in the order in which they were heard."""
    old, new = heads[:-NEWEST], heads[-NEWEST:]
    first_of_days: dict[str, AuditHead] = {}
    for head in old:
        first_of_days.setdefault(head.heard_at[:10], head)
    times = Counter(head.number for head in heads)
    stay = set(list(first_of_days.values())[-DAYS:])
    stay.update([head for head in old if times[head.number] > 1][:CONTRADICTED])
    return [*(head for head in old if head in stay), *new]


def read(state_dir: Path) -> list[AuditHead]:
    """Return the heads that an agent keeps; what is no head in the file is passed over."""
    try:
        text = (state_dir / "identity" / "audit_heads").read_text(
            encoding="ascii", errors="replace"
        )
    except OSError:
        return []
    found = map(_LINE.fullmatch, text.splitlines())
    return [AuditHead(int(match[1]), bytes.fromhex(match[2]), match[3]) for match in found if match]
