"""A control group with little memory, of whichever version this machine has."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from outrider_agent import control_groups

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_BYTES = 64 << 20


@contextmanager
def little_memory() -> Iterator[str | None]:
    """Make a group of 64 MiB; the shell command that joins it, or None where none can be made."""
    own = control_groups.of(os.getpid())
    if own is None:
        yield None
        return
    group = own.limit.parent / f"outrider-{os.getpid()}"
    try:
        group.mkdir()
        (group / own.limit.name).write_text(str(LIMIT_BYTES))
    except OSError:
        with suppress(OSError):
            group.rmdir()
        yield None
        return
    # Swap would only make it slow.
    for name in ("memory.swap.max", "memory.memsw.limit_in_bytes"):
        with suppress(OSError):
            limit = "0" if name.endswith("max") else str(LIMIT_BYTES)
            _overwrite(group / name, limit)
    try:
        yield f"echo $$ > {group}/cgroup.procs"
    finally:
        with suppress(OSError):
            group.rmdir()


def _overwrite(file: Path, text: str) -> None:
    with file.open("r+") as opened:
        opened.write(text)
