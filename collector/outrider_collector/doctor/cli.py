"""``outrider doctor``: everything that can be looked at from this host, one line each."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING

from outrider.command import DONE, FAILED, FOUND
from outrider.visible import visible
from outrider_collector import config as configuration
from outrider_collector.doctor.examine import examine
from outrider_collector.doctor.finding import worst
from outrider_collector.terminal.render import GREEN, RED, YELLOW, coloured

if TYPE_CHECKING:
    from outrider_collector.doctor.finding import Finding

_COLOURS = {"ok": GREEN, "note": GREEN, "warn": YELLOW, "bad": RED}
_CODES = {"ok": DONE, "warn": FOUND, "bad": FAILED}


def main(argv: list[str]) -> int:
    """Examine the installation; return 0 well, 3 doubtful, 1 something does not work."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="outrider doctor",
        description="What is wrong with this installation and what to do: settings, disk, "
        "collector, database, agents, rules, channels. It changes nothing and sends nothing. "
        "Exit code: 0 all is well, 3 there are warnings, 1 something does not work.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--config", metavar="FILE", help="outrider.toml to read")
    arguments = parser.parse_args(argv)
    config = configuration.load(arguments.config)

    async def run() -> list[Finding]:
        findings = []
        async for finding in examine(config, arguments.config):
            findings.append(finding)
            if not arguments.json:
                _show(finding)
        return findings

    findings = asyncio.run(run())
    level = worst(findings)
    if arguments.json:
        document = {"worst": level, "findings": [finding._asdict() for finding in findings]}
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
    return _CODES[level]


def _show(finding: Finding) -> None:
    line = visible(finding.line)
    level = coloured(line[:4], _COLOURS[finding.level], colours=sys.stdout.isatty())
    sys.stdout.write(f"{level}{line[4:]}\n")
    sys.stdout.flush()
