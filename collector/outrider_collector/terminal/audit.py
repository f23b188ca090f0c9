"""``outrider audit verify``: proves the audit log, or names what is not as it was."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from outrider.command import DONE, FOUND
from outrider.configuration import ConfigError
from outrider.visible import visible
from outrider_collector import config
from outrider_collector.store import schema
from outrider_collector.store.audit.canonical import HASH_BYTES, Head
from outrider_collector.store.audit.verify import Report, verify
from outrider_collector.terminal.commands import Parser, say
from outrider_collector.terminal.documents import document
from outrider_collector.terminal.progress import Progress
from outrider_collector.terminal.render import moment

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_HEAD: Final = re.compile(rf"(\d{{1,18}}):([0-9a-f]{{{2 * HASH_BYTES}}})", re.IGNORECASE)
_FILE_BYTES_MAX: Final = 64 << 20


def audit(argv: list[str]) -> int:
    """Run one of the acts; return the exit code."""
    parser = Parser("audit", "The audit log: is it as it was written?")
    proving = parser.act(
        "verify",
        "prove the log, or name what was changed, removed, inserted or reordered; "
        "exit 3 when something was, or when rows wait for a seal for more than five minutes",
    )
    proving.add_argument(
        "--head",
        action="append",
        default=[],
        metavar="N:ROOT",
        help="a head that was published: 'outrider agent status' of any agent shows the newest",
    )
    proving.add_argument(
        "--heads",
        action="append",
        default=[],
        metavar="FILE",
        help="a file with a head at the start of each line, such as identity/audit_heads of an "
        "agent's state directory",
    )
    return parser.run(argv, {"verify": _verify})


async def _verify(arguments: argparse.Namespace) -> int:
    heads = [_head(text, "--head") for text in arguments.head]
    for name in arguments.heads:
        heads += _heads_of(Path(name))
    url = config.load(arguments.config).database_url
    # As the owner: every row of every team.
    async with schema.opened(url, "outrider audit") as connection:
        with Progress() as progress:
            report = await verify(
                connection,
                heads,
                lambda r: progress.show(f"{r.rows:,} rows, seal {r.head.number}"),
            )
    say(json.dumps(_document(report)) if arguments.json else "\n".join(_lines(report, len(heads))))
    return FOUND if report.findings_count or report.late else DONE


def _heads_of(path: Path) -> list[Head]:
    """Read a file of heads. ConfigError for one that cannot be read or holds none."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_FILE_BYTES_MAX)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the heads cannot be read: {error}", "--heads", "name a file that you may read"
        ) from error
    heads = [
        _head(line.split()[0], f"line {number} of {path}")
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.startswith("#")
    ]
    if not heads:
        raise ConfigError("there is no head in it", str(path), "write N:ROOT, one a line")
    return heads


def _head(text: str, where: str) -> Head:
    found = _HEAD.fullmatch(text.strip())
    if found is None:
        raise ConfigError(
            f"`{visible(text[:80])}` is no head",
            where,
            "write the number of the seal, a colon and the 64 hexadecimal digits of its root",
        )
    return Head(int(found[1]), bytes.fromhex(found[2]))


def _lines(report: Report, heads: int) -> Iterator[str]:
    for finding in report.findings:
        yield f"{finding.what}: {finding.where}: {finding.detail}"
    if report.findings_count > len(report.findings):
        yield f"and {report.findings_count - len(report.findings):,} more"
    if report.retired_before is not None:
        yield (
            f"rows before {moment(report.retired_before)} UTC were removed by retention: "
            f"{report.retired:,} of them were sealed, and their seals are whole"
        )
    if report.late:
        late = "1 row has" if report.late == 1 else f"{report.late:,} rows have"
        yield (
            f"{late} waited for a seal for more than five minutes: nobody seals, or the "
            "seals were removed"
        )
    if report.unsealed > report.late:
        young = report.unsealed - report.late
        rows = "1 newer row is" if young == 1 else f"{young:,} newer rows are"
        yield f"{rows} not sealed yet: nothing proves {'it' if young == 1 else 'them'}"
    if not report.seals:
        yield (
            "there is no seal"
            if report.unsealed
            else "nothing was ever sealed: there is nothing to prove"
        )
        return
    sealed = f", sealed until {moment(report.sealed_at)} UTC" if report.sealed_at else ""
    proof = "are not as they were sealed" if report.findings_count else "are as they were sealed"
    seals = "1 seal" if report.seals == 1 else f"{report.seals:,} seals"
    yield f"{report.rows:,} rows in {seals}{sealed}: they {proof}"
    yield f"head {report.head}"
    if heads:
        yield f"{report.heads_agreeing:,} of {heads:,} published heads agree"
    else:
        yield (
            "no published head was given: a log that was written anew from its start would look "
            "the same (--head, --heads)"
        )


def _document(report: Report) -> dict[str, object]:
    return {
        **document(report),
        "head": str(report.head),
        "findings": [finding._asdict() for finding in report.findings],
    }
