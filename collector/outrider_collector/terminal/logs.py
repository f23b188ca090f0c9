"""``outrider logs``: search and follow."""

from __future__ import annotations

import argparse
import asyncio
import gzip
import io
import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, TextIO

from outrider.command import DONE
from outrider_collector.store.reading.around import MOST_AROUND
from outrider_collector.terminal.arguments import parse_filter, parse_time, split_filter
from outrider_collector.terminal.commands import reading_url
from outrider_collector.terminal.follow import MOST_HELD, Command, run
from outrider_collector.terminal.output import Output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outrider_collector.terminal.output import Form

DEFAULT_LIMIT = 100

_LANGUAGE: Final = """\
the filter language, of which sdk/FILTER.md tells all:
  timeout  time*  "timed out"      words of the message and of what stands beside it
  /lost after \\d+ ms/              a regular expression (RE2) in the message
  service:payments  worker:web-*   a field's value, or how it begins; field:/re/
  severity>=error  attrs.ms>250    comparisons; attributes by their path
  a b   a OR b   -a   NOT (a b)    both, one of them, not
  service:(a OR b)                 one of several values

example: outrider logs 'service:payments severity>=error -healthcheck' --since 2h
On a terminal, what is longer than the screen is shown by $PAGER (less)."""


def logs(argv: list[str]) -> int:
    """Search and follow the logs; return the exit code."""
    parser = _parser()
    words, options = split_filter(argv, parser)
    arguments = parser.parse_args(options)
    form: Form = "json" if arguments.json else "csv" if arguments.csv else "text"
    exports = form != "text" and not arguments.follow
    _check(parser, arguments, form, exports=exports)
    command = Command(
        filter=parse_filter(" ".join([*arguments.filter, *words])),
        since=parse_time(arguments.since, "--since"),
        until=parse_time(arguments.until, "--until") if arguments.until else None,
        limit=arguments.limit or (None if exports else DEFAULT_LIMIT),
        follow=arguments.follow,
        newest_first=exports,
        context=arguments.context,
    )
    url = reading_url(arguments.config)
    with _compressing(sys.stdout) if arguments.gzip else nullcontext(sys.stdout) as out:
        output = Output(form, out, sys.stderr, paged=not arguments.follow)
        asyncio.run(run(url, command, output))
        output.end()
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="outrider logs",
        description="Lines that match a filter: the newest 100, oldest of them first. With --json "
        "or --csv all of them, newest first. How many there are and how complete that is goes to "
        "standard error.",
        epilog=_LANGUAGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("filter", nargs="*", metavar="FILTER", help="what to look for")
    parser.add_argument(
        "--since",
        default="1h",
        metavar="WHEN",
        help="an age (1h, 3d) or a time, in UTC unless it names a zone (03:50 is today's); "
        "default 1h",
    )
    parser.add_argument("--until", metavar="WHEN", help="an age or a time; default now")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new lines")
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="no more than the newest N; default 100, with --json or --csv (and no -f) all",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        "--json",
        action="store_true",
        help="one JSON object a line, newest first (with -f oldest first)",
    )
    form.add_argument(
        "--csv",
        action="store_true",
        help="CSV, safe to open in a spreadsheet, newest first (with -f oldest first)",
    )
    parser.add_argument(
        "--gzip", action="store_true", help="compress what --json or --csv writes: > lines.gz"
    )
    parser.add_argument(
        "--context",
        type=int,
        default=0,
        metavar="N",
        help="show N lines of its stream before and after each line, as grep does",
    )
    parser.add_argument("--config", metavar="FILE", help="outrider.toml to read")
    return parser


def _check(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, form: Form, *, exports: bool
) -> None:
    """End with a usage error where options do not go together."""
    if arguments.follow and arguments.until:
        parser.error("--follow has no end: leave out --until")
    if arguments.limit is not None and arguments.limit < 1:
        parser.error("--limit must be at least 1")
    if not exports and (arguments.limit or 0) > MOST_HELD:
        parser.error(f"--limit is at most {MOST_HELD:,} here: --json and --csv stream any number")
    if not 0 <= arguments.context <= MOST_AROUND:
        parser.error(f"--context must be 0 to {MOST_AROUND}")
    if arguments.gzip and (form == "text" or sys.stdout.isatty()):
        parser.error("--gzip is for files: add --json or --csv, and > FILE.gz")
    if arguments.context and (form != "text" or arguments.follow):
        parser.error("--context is for reading what is there: leave out --json, --csv and --follow")


@contextmanager
def _compressing(out: TextIO) -> Iterator[TextIO]:
    """Give a file whose text leaves compressed. What was not written to its end has none."""
    packed = gzip.GzipFile(fileobj=out.buffer, mode="wb", mtime=0)
    # As it is: CSV has line ends of its own.
    text = io.TextIOWrapper(packed, encoding="utf-8", newline="")
    try:
        yield text
    except BaseException:
        text.detach()
        packed.fileobj = io.BytesIO()  # or else it would end as if all were there
        raise
    text.close()
