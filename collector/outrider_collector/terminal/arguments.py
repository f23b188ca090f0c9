"""Reading what a user typed at the command line: a filter and times."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from outrider.configuration import ConfigError
from outrider.filter import FilterError, parse

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from outrider.filter import Filter

_AGE: Final = re.compile(r"(\d{1,6})(s|m|h|d|w)")
_AGE_MAX: Final = timedelta(days=36_500)
"""Nothing is older, and further back there is no date to count to."""
_TIME: Final = re.compile(r"\d\d:\d\d(:\d\d)?")
_NEGATIVE: Final = re.compile(r"-\d")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


_EXAMPLE: Final = (
    "write it like 'service:payments severity>=error -healthcheck'; sdk/FILTER.md has all of it"
)

When = timedelta | datetime | time
"""An age, a moment, or a time of today."""


def split_filter(argv: list[str], parser: argparse.ArgumentParser) -> tuple[list[str], list[str]]:
    """Return the excluding terms of a filter (``-healthcheck``), and all other arguments.

    A term with a minus looks like an option; it is one only where the parser knows it.
    """
    known = set(parser._option_string_actions)  # noqa: SLF001  there is no public list
    argv = join_values(argv, [parser])
    words: list[str] = []
    others: list[str] = []
    for place, argument in enumerate(argv):
        if argument == "--":
            return [*words, *argv[place + 1 :]], others
        is_term = argument.startswith("-") and not argument.startswith("--") and argument != "-"
        (words if is_term and argument not in known else others).append(argument)
    return words, others


def join_values(argv: list[str], parsers: Iterable[argparse.ArgumentParser]) -> list[str]:
    """Return the arguments with ``--limit -5`` as ``--limit=-5``.

    argparse takes a value with a minus for an option, and says only that an argument is missing.
    """
    takes_value = {
        name
        for parser in parsers
        for name, action in parser._option_string_actions.items()  # noqa: SLF001  as above
        if name.startswith("--") and action.nargs != 0
    }
    joined: list[str] = []
    for place, argument in enumerate(argv):
        if argument == "--":
            return [*joined, *argv[place:]]
        if joined and joined[-1] in takes_value and _NEGATIVE.match(argument):
            joined[-1] = f"{joined[-1]}={argument}"
        else:
            joined.append(argument)
    return joined


def parse_filter(text: str) -> Filter:
    """Parse a filter. ConfigError that names the place."""
    try:
        return parse(text)
    except FilterError as error:
        what_to_do = f"write {error.suggestion}" if error.suggestion else _EXAMPLE
        raise ConfigError(
            error.message, f"column {error.column} of the filter `{text}`", what_to_do
        ) from error


def parse_time(text: str, option: str) -> When:
    """Read an age (``1h``, ``3d``) or a time (ISO 8601, UTC where it names no zone).

    A time without a date (``03:50``) is one of today.

    Raises ConfigError that names the option.
    """
    found = _AGE.fullmatch(text)
    if found:
        return min(timedelta(**{_UNITS[found[2]]: int(found[1])}), _AGE_MAX)
    try:
        if _TIME.fullmatch(text):
            return time.fromisoformat(text)
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"`{text}` is no time",
            option,
            "write an age like 1h or 3d, 03:50 (UTC, today), or 2026-07-14T13:00:00Z",
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def resolve(when: When, now: datetime) -> datetime:
    """Return the time that is meant, an age counting back from now; today is UTC's."""
    if isinstance(when, time):
        return datetime.combine(now.astimezone(UTC), when, UTC)
    return now - when if isinstance(when, timedelta) else when
