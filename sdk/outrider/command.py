"""The console script ``outrider``: finds the command's part and imports nothing else.

A command is a name in a table, with a sentence and the place of its function, ``module:function``.
The function takes the remaining arguments and returns the exit code: 0 done, 1 failed, 2 usage or
configuration, 3 done but something was found. An interrupt is 130. Errors that a user can do
something about are one line on standard error, ``outrider: what happened: where: what to do``.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from outrider.configuration import ConfigError, suggest
from outrider.errors import Fault, Reason
from outrider.standard_streams import tell
from outrider.visible import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NEAR = 0.7
"""difflib's ratio from which a word was probably meant to be a command: 'bogus' is not 'logs'."""
DONE, FAILED, USAGE, FOUND, INTERRUPTED = 0, 1, 2, 3, 130


class Command(NamedTuple):
    """One command: where its function is, what it does, which extra brings its packages."""

    function: str
    summary: str
    extra: str


COMMANDS: dict[str, Command] = {
    "up": Command(
        "outrider_collector.up.cli:main",
        "everything in one process tree: database, collector, agent, dashboard",
        "all",
    ),
    "agent": Command("outrider_agent.cli:main", "the agent of this host", "agent"),
    "run": Command("outrider_agent.wrap:main", "a worker under the agent's eye", "agent"),
    "collector": Command("outrider_collector.cli:main", "the collector", "collector"),
    "store": Command(
        "outrider_collector.terminal.store:main",
        "the database: migrate, compact, verify, stats, retention, purge, quarantine",
        "collector",
    ),
    "dashboard": Command("outrider_dashboard.cli:main", "the web pages", "dashboard"),
    "logs": Command(
        "outrider_collector.terminal.logs:logs", "search and follow the logs", "collector"
    ),
    "status": Command(
        "outrider_collector.terminal.status:status", "how everything is", "collector"
    ),
    "workers": Command("outrider_collector.terminal.status:workers", "the fleet", "collector"),
    "rules": Command(
        "outrider_collector.terminal.rules:rules", "check and apply alerting rules", "collector"
    ),
    "alerts": Command(
        "outrider_collector.terminal.alerts:alerts",
        "list, show, explain and acknowledge alerts",
        "collector",
    ),
    "silences": Command(
        "outrider_collector.terminal.silences:silences", "add, list and end silences", "collector"
    ),
    "notify": Command(
        "outrider_collector.terminal.notify:notify", "send a test message to a channel", "collector"
    ),
    "audit": Command(
        "outrider_collector.terminal.audit:audit",
        "prove that the audit log is as it was written",
        "collector",
    ),
    "doctor": Command(
        "outrider_collector.doctor.cli:main", "what is wrong here and what to do", "collector"
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else "--help"
    if name in {"-h", "--help", "help"}:
        print(help_text())  # noqa: T201  what was asked for
        return DONE if arguments else USAGE
    if name in {"-V", "--version", "version"}:
        print(f"outrider {version()}")  # noqa: T201  what was asked for
        return DONE
    command = COMMANDS.get(name)
    if command is None:
        near = suggest(name, COMMANDS, _NEAR)
        hint = f"did you mean '{near}'?" if near else "'outrider --help' lists the commands"
        return _complain(f"unknown command: {name}: {hint}", USAGE)
    return _guarded(name, command, arguments[1:])


def version() -> str:
    """Return the version of the installed distribution."""
    from importlib import metadata  # noqa: PLC0415  3 MB that most commands never need

    try:
        return metadata.version("outrider")
    except metadata.PackageNotFoundError:
        return "unknown"


def help_text() -> str:
    """Return the list of commands, one line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: outrider COMMAND [ARGUMENTS]",
            "",
            *lines,
            "",
            "'outrider COMMAND --help' says more. 'outrider --version' tells the version.",
        ]
    )


def _guarded(name: str, command: Command, arguments: list[str]) -> int:
    """Run a command's function; what it raises becomes a line and an exit code."""
    try:
        return _function(name, command)(arguments)
    except ConfigError as error:
        return _complain(str(error), USAGE)
    except Fault as fault:
        return _complain(str(fault), USAGE if fault.reason is Reason.CONFIG_INVALID else FAILED)
    except UnicodeEncodeError:
        # Bytes of the command line that are no UTF-8 reach us as lone surrogates. A file's name may
        # hold them and a worker be given them; what is stored, sent or printed may not.
        strange = [n for n, argument in enumerate(arguments, 1) if not _is_utf8(argument)]
        if not strange:
            raise
        where = f"argument {strange[0]} of 'outrider {name}'"
        return _complain(f"not UTF-8: {where}: write it in UTF-8", USAGE)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output (a pager, `head`) has gone: not a failure, and Python's own flush
        # at exit must not complain about it either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def _function(name: str, command: Command) -> Callable[[list[str]], int]:
    module_name, _, function_name = command.function.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        where = f"outrider {name}"
        what_to_do = f"pip install '/path/to/the/clone[{command.extra}]'"
        raise ConfigError(f"package '{missing}' is not installed", where, what_to_do) from error
    function: Callable[[list[str]], int] = getattr(module, function_name)
    return function


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _complain(message: str, code: int) -> int:
    # It quotes arguments, keys and files, whatever they hold.
    tell(f"outrider: {visible(message)}\n", sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
