"""The process that compacts for a collector: told what to do by one line, ended by end of file.

Standard input: one line of JSON (url, holder, age_s, share), then nothing until the collector ends,
however it ends. It is a process of its own because merging is computing, and a polite one: it runs
at a lower priority than what takes lines in.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import timedelta

from outrider_collector.store.compaction.compactor import Compactor, Pace


async def _run(order: dict[str, str | float]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    pace = Pace(timedelta(seconds=float(order["age_s"])), float(order["share"]))
    await Compactor(str(order["url"]), pace, holder=str(order["holder"])).run(stop)


def main() -> None:
    """Read the order and compact until the end of the file."""
    os.nice(10)
    line = bytearray()
    # Not sys.stdin: it would read ahead and hide the end of the file from the loop.
    while not line.endswith(b"\n"):
        byte = os.read(sys.stdin.fileno(), 1)
        if not byte:
            return
        line += byte
    asyncio.run(_run(json.loads(line)))


if __name__ == "__main__":
    main()
