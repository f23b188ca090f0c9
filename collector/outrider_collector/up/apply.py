"""`outrider up` applies the directory of rules at its start, and says what that changed."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from outrider.visible import visible
from outrider_collector.store.connect import connect, driver_errors
from outrider_collector.store.rules import active_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_NAMES_SHOWN = 8


async def apply_rules(
    directory: Path, environment: dict[str, str], url: str, say: Callable[[str], None]
) -> None:
    """Apply the directory of rules; a bad file keeps the set that was active."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "outrider.command", "rules", "apply", "--json", str(directory),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    if not process.returncode:
        for line in changed(json.loads(output)):
            say(line)
        return
    async with await connect(url, application_name="outrider up") as connection:
        with driver_errors(url):
            before = await active_version(connection)
    state = f"rule set {before} stays active" if before else "no rule is active, nobody is alerted"
    say(f"  rules      not applied, {state}:")
    lines = errors.decode(errors="replace").strip().splitlines()
    say("\n".join(f"    {visible(line)}" for line in lines))
    say(f"             correct the files, then: outrider rules apply {directory}")


def changed(document: Mapping[str, Any]) -> list[str]:
    """Return the line that says what applying changed; none where it changed nothing."""
    names = [
        f"{mark} {name}"
        for mark, key in (("+", "added"), ("~", "changed"), ("-", "removed"))
        for name in document[key]
    ]
    if not names:
        return []
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    shown = visible(", ".join(names[:_NAMES_SHOWN]))
    return [f"  applied    rule set {document['version']}: {shown}{more}"]
