"""A process of Outrider that a test steers while it runs: its clock, and where it dies.

    python -m tests.chaos.steered FILE agent run

FILE says by how many seconds its wall clock is off, as if an administrator or a time server had
stepped it (the monotonic clock is left alone, as by the kernel), and at which passing of which
failpoint it is killed. So a process dies there in the middle of its work, not soon after its start.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
from pathlib import Path

from outrider import failpoint

_CLOCK = struct.Struct("<q")
# Passings that are left, and the failpoint's name.
_DEATH = struct.Struct("<i52s")
_BYTES = _CLOCK.size + _DEATH.size


def prepare(file: Path) -> None:
    """Make the file: nothing is changed yet."""
    file.write_bytes(bytes(_BYTES))


def step_clock(file: Path, seconds: int) -> None:
    """Set by how much the clock of the process that follows ``file`` is off."""
    _write(file, 0, _CLOCK.pack(seconds))


def die_at(file: Path, name: str, passing: int) -> None:
    """Kill that process at a passing of a failpoint; "" calls it off."""
    _write(file, _CLOCK.size, _DEATH.pack(passing, name.encode()))


def _write(file: Path, offset: int, data: bytes) -> None:
    with file.open("r+b") as out:
        out.seek(offset)
        out.write(data)


def _follow(file: Path) -> None:
    real = time.time_ns
    with file.open("r+b") as opened:
        shared = mmap.mmap(opened.fileno(), _BYTES)

    def stepped() -> int:
        return real() + int(_CLOCK.unpack_from(shared)[0]) * 1_000_000_000

    def passed(name: str) -> None:
        left, chosen = _DEATH.unpack_from(shared, _CLOCK.size)
        if left and chosen.rstrip(b"\0") == name.encode():
            _DEATH.pack_into(shared, _CLOCK.size, left - 1, chosen)
            if left == 1:
                os.kill(os.getpid(), signal.SIGKILL)

    time.time_ns, time.time = stepped, lambda: stepped() / 1e9
    failpoint.failpoint = passed


if __name__ == "__main__":
    _follow(Path(sys.argv[1]))
    # Only now: every other module takes the failpoint's name as it finds it.
    from outrider.command import main

    sys.exit(main(sys.argv[2:]))
