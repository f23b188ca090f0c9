"""``outrider store retention`` and ``verify``: by hand what housekeeping and a doubt would do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from outrider.command import DONE, FOUND
from outrider.visible import visible
from outrider_collector.store import housekeeping, schema
from outrider_collector.store.compaction.verify import verify as look_through
from outrider_collector.terminal.commands import say
from outrider_collector.terminal.progress import Progress

if TYPE_CHECKING:
    from outrider_collector.config import Configuration
    from outrider_collector.store.housekeeping import Round


async def retention(configuration: Configuration, *, as_json: bool) -> int:
    """Drop what is older than its class is kept, now; return the exit code."""
    keep = configuration.retention.by_class()
    with Progress() as progress:
        progress.show("looking for what is older than the retention")
        async with schema.opened(configuration.database_url) as connection:
            done = await housekeeping.keep_house(
                connection, keep, configuration.store.wanted(), tell=progress.show
            )
    kept = {one.label: str(getattr(configuration.retention, one.label)) for one in keep}
    say(json.dumps(_document(done, kept)) if as_json else _text(done, kept))
    return DONE


def _document(done: Round, kept: dict[str, str]) -> dict[str, object]:
    return {
        "dropped": list(done.dropped),
        "shed": list(done.shed),
        "deleted": done.deleted,
        "kept": kept,
    }


def _text(done: Round, kept: dict[str, str]) -> str:
    lines = [f"dropped {name}" for name in done.dropped]
    lines += [f"dropped {name} before its time: the store is nearly full" for name in done.shed]
    lines += [f"deleted {rows} rows of {table}" for table, rows in done.deleted.items()]
    texts = ", ".join(f"{name} {text}" for name, text in kept.items())
    lines.append(f"every day kept has a record that is younger than its class's retention: {texts}")
    return "\n".join(lines)


async def verify(configuration: Configuration, *, quick: bool, as_json: bool) -> int:
    """Look whether every block is right about its records; return the exit code."""
    blocks = records = found = 0
    findings: list[str] = []
    with Progress() as progress:
        # As the owner: the read role sees no table by itself.
        async with schema.opened(configuration.database_url, read_only=True) as connection:
            async for looked in look_through(connection, quick=quick):
                blocks, records = blocks + looked.blocks, records + looked.records
                found += len(looked.findings)
                for finding in map(visible, looked.findings):
                    if as_json:
                        findings.append(finding)
                    else:
                        progress.clear()
                        say(finding)
                progress.show(f"{records:,} records, {looked.what}")
    if as_json:
        say(json.dumps({"records": records, "blocks": blocks, "findings": findings}))
    else:
        say(f"{records:,} records in {blocks:,} blocks: {found or 'nothing'} found wrong")
    return FOUND if found else DONE
