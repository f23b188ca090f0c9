"""`outrider up`: parse, then hand over to :mod:`outrider_collector.up.tree`."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from outrider.configuration import default_data_dir
from outrider_collector.up.tree import Options, run


def main(argv: list[str]) -> int:
    """Run everything until Ctrl-C; returns the exit code."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="outrider up",
        description="Everything on this machine in one process tree: database, collector, agent, "
        "dashboard. With OUTRIDER_DATABASE_URL, that Postgres (>= 15) instead of an embedded one.",
    )
    parser.add_argument("--demo", action="store_true", help="with three workers that log")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help=f"data directory (default: {default_data_dir()})"
    )
    arguments = parser.parse_args(argv)
    data: Path = (arguments.data or default_data_dir()).absolute()
    return asyncio.run(run(Options(data=data, demo=arguments.demo)))
