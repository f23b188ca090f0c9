"""What commands share: parsers with acts, reading, acting."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from outrider.configuration import default_data_dir, load, suggest
from outrider_collector import config as configuration
from outrider_collector.store.connect import READ_ROLE, connect, driver_errors
from outrider_collector.store.database_url import DatabaseConfig, read_url
from outrider_collector.terminal.arguments import join_values

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from psycopg import AsyncConnection

    from outrider_collector.service.admin_client import AdminClient

_MISTYPED: Final = re.compile(r"invalid choice: '([^']*)' \(choose from (.*)\)")


class _Parser(argparse.ArgumentParser):
    """Names the act that a mistyped one resembles."""

    def error(self, message: str) -> NoReturn:
        typed = _MISTYPED.search(message)
        near = suggest(typed[1], re.findall(r"[\w-]+", typed[2])) if typed else None
        super().error(f"{message}: did you mean '{near}'?" if near else message)


class Parser:
    """A command with acts; --config and --json may stand before or after the act."""

    def __init__(self, name: str, description: str, default: str | None = None) -> None:
        self._default = default
        self._common = _Parser(add_help=False, allow_abbrev=False)
        self._common.add_argument(
            "--config", metavar="FILE", default=argparse.SUPPRESS, help="outrider.toml to read"
        )
        self._common.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON document"
        )
        self._parser = _Parser(
            allow_abbrev=False,
            prog=f"outrider {name}",
            description=description,
            parents=[self._common],
        )
        self._acts = self._parser.add_subparsers(
            dest="act", metavar="ACT", required=default is None
        )

    def act(self, name: str, summary: str) -> argparse.ArgumentParser:
        """Add an act."""
        parser: argparse.ArgumentParser = self._acts.add_parser(
            name, help=summary, description=summary, parents=[self._common], allow_abbrev=False
        )
        return parser

    def run(
        self, argv: list[str], acts: dict[str, Callable[[argparse.Namespace], Awaitable[int]]]
    ) -> int:
        """Parse the arguments and run the act that they name."""
        preset = argparse.Namespace(config=None, json=False)
        parsers = [self._parser, *(self._acts.choices or {}).values()]
        argv = self._with_default(join_values(argv, parsers))
        arguments = self._parser.parse_args(argv, preset)

        async def main() -> int:
            return await acts[arguments.act](arguments)

        return asyncio.run(main())

    def _with_default(self, argv: list[str]) -> list[str]:
        """Name the default act where no act is named, so that its options work without it."""
        acts = self._acts.choices or {}
        asks_help = any(word in {"-h", "--help"} for word in argv)
        if self._default is None or asks_help or any(word in acts for word in argv):
            return argv
        words = [word for word in argv if not word.startswith("-")]
        values = [argv[i + 1] for i, word in enumerate(argv[:-1]) if word == "--config"]
        # A word that is no option's value is a mistyped act: the parser names those that exist.
        return argv if len(words) > len(values) else [self._default, *argv]


async def read_store(
    arguments: argparse.Namespace, read: Callable[[AsyncConnection], Awaitable[Any]]
) -> Any:
    """Return what ``read`` reads under the reading role."""
    url = configuration.load(arguments.config).database_url
    async with await connect(url, application_name="outrider", role=READ_ROLE) as connection:
        with driver_errors(url):
            return await read(connection)


def reading_url(file: str | None) -> str:
    """Return where what may be a little behind is read. Raises ConfigError."""
    tables = load(file, msgspec.convert, {"data_dir": str, "database": DatabaseConfig})
    data_dir = Path(tables.get("data_dir") or default_data_dir())
    return read_url(tables["database"], data_dir)


def admin(arguments: argparse.Namespace) -> AdminClient:
    """Return a client of this host's collector. Raises ConfigError without its token."""
    # Imported here: reading needs no gRPC.
    from outrider_collector.service.admin_client import AdminClient  # noqa: PLC0415

    return AdminClient.of(configuration.load(arguments.config))


def actor() -> str:
    """Return who acts, as this host knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def say(text: str) -> None:
    """Print what was asked for."""
    sys.stdout.write(f"{text}\n")
