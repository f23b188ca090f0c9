"""``outrider store retention`` and ``verify``: by hand what housekeeping and a doubt would do."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Self

from outrider.command import DONE, FOUND
from outrider.visible import visible
from outrider_collector.store import housekeeping, schema
from outrider_collector.store.compaction.verify import verify as look_through
from outrider_collector.store.connect import connect, driver_errors

if TYPE_CHECKING:
    from outrider_collector.config import Configuration
    from outrider_collector.store.housekeeping import Round


async def retention(configuration: Configuration, *, as_json: bool) -> int:
    """Drop what is older than its class is kept, now; return the exit code."""
    url = configuration.database_url
    keep = configuration.retention.by_class()
    with _Line() as line:
        line.show("looking for what is older than the retention")
        async with await connect(url, application_name="outrider store") as connection:
            with driver_errors(url):
                (await schema.check(connection)).require(url)
                done = await housekeeping.keep_house(
                    connection, keep, configuration.store.wanted(), tell=line.show
                )
    kept = {one.label: str(getattr(configuration.retention, one.label)) for one in keep}
    _say(json.dumps(_document(done, kept)) if as_json else _text(done, kept))
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
    url = configuration.database_url
    blocks = records = found = 0
    findings: list[str] = []
    with _Line() as line:
        # As the owner: the read role sees no table by itself.
        async with await connect(
            url, application_name="outrider store", read_only=True
        ) as connection:
            with driver_errors(url):
                (await schema.check(connection)).require(url)
                async for looked in look_through(connection, quick=quick):
                    blocks, records = blocks + looked.blocks, records + looked.records
                    found += len(looked.findings)
                    for finding in map(visible, looked.findings):
                        if as_json:
                            findings.append(finding)
                        else:
                            line.clear()
                            _say(finding)
                    line.show(f"{records:,} records, {looked.what}")
    if as_json:
        _say(json.dumps({"records": records, "blocks": blocks, "findings": findings}))
    else:
        _say(f"{records:,} records in {blocks:,} blocks: {found or 'nothing'} found wrong")
    return FOUND if found else DONE


class _Line:
    """One line on a terminal that is written again and again, and is gone at the end."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, text: str) -> None:
        """Say what is done now."""
        if self._is_terminal:
            sys.stderr.write(f"\r{visible(text)}\x1b[K")
            sys.stderr.flush()

    def clear(self) -> None:
        """Make room for a line that stays."""
        if self._is_terminal:
            sys.stderr.write("\r\x1b[K")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
