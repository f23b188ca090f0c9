"""From the TOML files of a rules directory to a :class:`~outrider_alerting.rules.RuleSet`.

A file holds ``[[rule]]``, ``[[channel]]`` and ``[[route]]`` tables in any mixture; all files
together are one set. Nothing is guessed and nothing is ignored: an unknown key, kind or name is an
error with its file, its line and the nearest name that exists. All problems are found in one go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec

from outrider import configuration
from outrider.configuration import ConfigError, suggest
from outrider.filter import FilterError, parse
from outrider_alerting import checks, rule_checks
from outrider_alerting.doubts import doubts
from outrider_alerting.durations import Duration
from outrider_alerting.kinds import KINDS, GapRule, HealthRule, LivenessRule
from outrider_alerting.rules import (
    CHANNEL_TYPES,
    Route,
    RuleSet,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from outrider.configuration import Source

TABLES: Final = ("rule", "channel", "route")
MAX_RULES: Final = 1_000
MAX_CHANNELS: Final = 100
MAX_ROUTES: Final = 200

_Table = TypeVar("_Table", bound=msgspec.Struct)
_WHERE = re.compile(r":(\d+)$")


class Problem(NamedTuple):
    """Something wrong with a rule file. ``str()`` is the line that people read."""

    file: str
    line: int | None
    key: str
    """Where it stands in the file: ``rule[0].window``; empty for a file as a whole."""
    message: str
    hint: str = ""
    """What to do about it."""
    is_error: bool = True
    """False: the set can be applied, but it hardly means what it says."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (self.message, where, self.hint) if part)


class RulesInvalid(ValueError):  # noqa: N818  it is the state of the files, not of a program
    """Rule files that cannot be used, with all that is wrong with them."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def read(files: Iterable[tuple[str, str]]) -> RuleSet:
    """Return the set that the files (name, text) make up. Raises RulesInvalid."""
    rule_set, problems = _read(files)
    errors = [problem for problem in problems if problem.is_error]
    if errors:
        raise RulesInvalid(errors)
    return rule_set


def lint(files: Iterable[tuple[str, str]]) -> list[Problem]:
    """Return everything wrong or doubtful about the files, in the order of files and lines."""
    return _read(files)[1]


def _read(files: Iterable[tuple[str, str]]) -> tuple[RuleSet, list[Problem]]:
    reader = _Reader()
    for name, text in sorted(files):
        reader.file(configuration.Source(name, text))
    reader.together()
    rule_set = RuleSet(
        rules=tuple(item.value for item in reader.rules),
        channels=tuple(item.value for item in reader.channels),
        routes=tuple(item.value for item in reader.routes),
    )
    if not any(problem.is_error for problem in reader.problems):
        # Rules that cannot be read would be missed here, and their labels with them.
        reader.doubts(rule_set)
    problems = sorted(reader.problems, key=lambda p: (p.file, p.line or 0))
    return rule_set, list(dict.fromkeys(problems))


class _Read(NamedTuple):
    """A converted table and where it came from."""

    value: Any
    source: Source
    path: tuple[str | int, ...]


class _Reader:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.rules: list[_Read] = []
        self.channels: list[_Read] = []
        self.routes: list[_Read] = []
        self._called: dict[tuple[str, tuple[str | int, ...]], str] = {}
        """What each table is called at the beginning of a message, by file and path."""
        self.channel_names: list[object] = []
        """Of all channels, faulty ones too: a route to one of those is not at fault."""

    def file(self, source: Source) -> None:
        try:
            document = configuration.parse(source)
        except ConfigError as error:
            self._config_error(source, "", error)
            return
        for name, tables in document.items():
            if name not in TABLES:
                self._report(source, (name,), f"unknown table `{name}`", _hint(name, TABLES))
            elif not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
                self._report(source, (name,), f"`{name}` is not a list of tables",
                             f"write [[{name}]]")  # fmt: skip
            else:
                for index, table in enumerate(tables):
                    self._table(source, (name, index), table)

    def _table(self, source: Source, path: tuple[str | int, ...], table: dict[str, Any]) -> None:
        self._called[source.file, path] = _called(path, table)
        if path[0] == "rule":
            rule = self._chosen(source, path, table, "kind", KINDS)
            if rule is not None:
                rule = rule_checks.normal(rule)
                self._keep(self.rules, source, path, rule, rule_checks.rule_faults)
        elif path[0] == "channel":
            self.channel_names.append(table.get("name"))
            channel = self._chosen(source, path, table, "type", CHANNEL_TYPES)
            if channel is not None:
                self._keep(self.channels, source, path, channel, checks.channel_faults)
        else:
            route = self._convert(source, path, table, Route)
            if route is not None:
                self._keep(self.routes, source, path, route, checks.route_faults)

    def _keep(
        self,
        kept: list[_Read],
        source: Source,
        path: tuple[str | int, ...],
        value: Any,
        faults: Callable[[Any], Iterable[checks.Fault]],
    ) -> None:
        kept.append(_Read(value, source, path))
        for fault in faults(value):
            self._report(source, (*path, *_steps(fault.key)), fault.message, fault.hint)

    def _chosen(
        self,
        source: Source,
        path: tuple[str | int, ...],
        table: dict[str, Any],
        by: str,
        known: Mapping[str, type[_Table]],
    ) -> _Table | None:
        """Convert a table to the struct that its ``kind`` or ``type`` names."""
        named = table.get(by)
        what = by
        listed = f"known: {', '.join(known)}"
        if named is None:
            self._report(source, path, f"`{by}` is missing", listed)
        elif not isinstance(named, str):
            self._report(source, (*path, by), f"`{what}` is a text", listed)
        elif named not in known:
            near = suggest(named, known)
            hint = f"did you mean `{near}`? {listed}" if near else listed
            self._report(source, (*path, by), f"unknown {what} `{named}`", hint)
        else:
            return self._convert(source, path, table, known[named])
        return None

    def _convert(
        self,
        source: Source,
        path: tuple[str | int, ...],
        table: dict[str, Any],
        shape: type[_Table],
    ) -> _Table | None:
        """Convert a table and report all that is wrong with it: what is, is left out in turn."""
        fields = shape.__struct_encode_fields__
        unknown = [key for key in table if key not in fields]
        for key in unknown:
            self._report(source, (*path, key), f"unknown key `{key}`", _hint(key, fields))
        left = {key: value for key, value in table.items() if key not in unknown}
        wrong: set[str] = set()
        stand_ins = dict(rule_checks.STAND_INS) if path[0] == "rule" else {}
        while True:
            try:
                value = msgspec.convert(left, shape, dec_hook=_hook_for(shape))
            except msgspec.ValidationError as error:
                found = configuration.mistake(error, shape)
                # What is converted is a table: its keys are texts.
                key = str(found.path[0])
                if key not in wrong:
                    where = path if found.is_missing else (*path, *found.path)
                    told = _in_toml(found.what.format(configuration.dotted(found.path)))
                    self._report(source, where, told, found.hint)
                wrong.add(key)
                if key in left:
                    del left[key]
                elif key in stand_ins:
                    left[key] = stand_ins.pop(key)
                else:
                    # Nothing can be said of the others: there is no whole to check.
                    return None
            else:
                rule: Any = value
                for fault in rule_checks.faults_beside(rule, wrong) if wrong and stand_ins else ():
                    self._report(source, (*path, *_steps(fault.key)), fault.message, fault.hint)
                return None if wrong else value

    def together(self) -> None:
        """Check what only the whole set can show."""
        for kept, limit in (
            (self.rules, MAX_RULES),
            (self.channels, MAX_CHANNELS),
            (self.routes, MAX_ROUTES),
        ):
            if len(kept) > limit:
                over = kept[limit]
                self._report(over.source, over.path, f"more than {limit:,} tables `{over.path[0]}`")
        for kept in (self.rules, self.channels):
            self._same_names(kept)
        self._routes()
        rules = [item.value for item in self.rules]
        for item in self.rules:
            for fault in rule_checks.member_faults(item.value, rules):
                self._report(item.source, (*item.path, fault.key), fault.message, fault.hint)

    def _same_names(self, kept: list[_Read]) -> None:
        first: dict[str, _Read] = {}
        for item in kept:
            known = first.setdefault(item.value.name, item)
            if known is not item:
                message = f"a {item.path[0]} `{item.value.name}` exists already"
                self._report(item.source, (*item.path, "name"), message,
                             f"the first is in {known.source.where(known.path)}")  # fmt: skip

    def _routes(self) -> None:
        names = [name for name in self.channel_names if isinstance(name, str)]
        reached: set[str] = set()
        closed: _Read | None = None
        for item in self.routes:
            for key, channel in _named_by(item.value):
                reached.add(channel)
                self._known(item, key, channel, names)
            if closed is not None:
                self._report(item.source, item.path, "no alert can reach this route",
                             f"the route in {closed.source.where(closed.path)} takes them all",
                             is_error=False)  # fmt: skip
            if item.value.match is None and not item.value.continue_ and closed is None:
                closed = item
        for item in self.channels:
            if item.value.fallback is not None:
                reached.add(item.value.fallback)
                self._known(item, ("fallback",), item.value.fallback, names)
        for item in self.channels:
            if item.value.name not in reached:
                self._report(item.source, item.path, f"no route leads to `{item.value.name}`",
                             "add it to a [[route]]", is_error=False)  # fmt: skip

    def doubts(self, rule_set: RuleSet) -> None:
        """Report what routes ask for that no alert of the set can have."""
        for item in self.routes:
            for doubt in doubts(item.value.match, rule_set) if item.value.match else ():
                self._report(item.source, (*item.path, "match"), doubt, is_error=False)

    def _known(
        self, item: _Read, key: tuple[str | int, ...], channel: str, names: list[str]
    ) -> None:
        if channel not in names:
            self._report(item.source, (*item.path, *key), f"no channel `{channel}`",
                         _hint(channel, names))  # fmt: skip

    def _config_error(self, source: Source, key: str, error: ConfigError) -> None:
        line = _WHERE.search(error.where)
        number = int(line[1]) if line else None
        self.problems.append(Problem(source.file, number, key, error.what, error.what_to_do))

    def _report(
        self,
        source: Source,
        path: tuple[str | int, ...],
        message: str,
        hint: str = "",
        *,
        is_error: bool = True,
    ) -> None:
        line = _WHERE.search(source.where(path))
        called = self._called.get((source.file, path[:2]), "")
        self.problems.append(
            Problem(
                source.file,
                int(line[1]) if line else None,
                configuration.dotted(path),
                f"{called}{message}",
                hint,
                is_error,
            )
        )


def _hook_for(shape: type) -> Callable[[type, Any], Any]:
    """Return msgspec's hook for our own types; routes and rules about components filter labels."""
    labels = shape in {Route, LivenessRule, HealthRule, GapRule}

    def hook(wanted: type, value: Any) -> Any:
        if not isinstance(value, str):
            what = 'a length such as "90s" or "5m"' if wanted is Duration else "a filter in quotes"
            raise ValueError(f"expected {what}, got {_typed(type(value).__name__)}")  # noqa: TRY004  msgspec turns a ValueError into its own error with the path
        if wanted is Duration:
            return Duration(value)
        try:
            return parse(value, labels=labels)
        except FilterError as error:
            raise ValueError(str(error)) from None

    return hook


def _named_by(route: Route) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """Yield the channels that a route names, each with its place in the table."""
    for index, channel in enumerate(route.channels):
        yield ("channels", index), channel
    for step, escalation in enumerate(route.escalate):
        for index, channel in enumerate(escalation.channels):
            yield ("escalate", step, "channels", index), channel


def _steps(key: str) -> tuple[str | int, ...]:
    """Return the path that a key such as ``test[0].given`` names."""
    return tuple(int(s) if s.isdecimal() else s for s in re.findall(r"[^.\[\]]+", key))


_TYPES: Final = re.compile(r"expected `([^`]*)`, got `([^`]*)`")
_TYPE_NAMES: Final = {
    "str": "a text in quotes", "int": "a whole number", "float": "a number",
    "bool": "true or false", "array": "a list in [ ]", "list": "a list in [ ]",
    "object": "a table in { }", "dict": "a table in { }",
    "datetime": "a time", "date": "a date", "time": "a time",
}  # fmt: skip


def place_of(files: Mapping[str, str], rule: str, key: str) -> str:
    """Return ``file:line`` of a key of a rule; files that :func:`read` has accepted."""
    for file, text in files.items():
        source = configuration.Source(file, text)
        for index, table in enumerate(configuration.parse(source).get("rule", ())):
            if table.get("name") == rule:
                return source.where(("rule", index, *_steps(key)))
    return ""


def _in_toml(told: str) -> str:
    """Say types in the words of whoever writes the file."""
    return _TYPES.sub(lambda found: f"expected {_typed(found[1])}, got {_typed(found[2])}", told)


def _typed(names: str) -> str:
    known = [name for name in names.split(" | ") if name != "null"]
    return " or ".join(dict.fromkeys(_TYPE_NAMES.get(name, f"`{name}`") for name in known))


def _called(path: tuple[str | int, ...], table: dict[str, Any]) -> str:
    """Return ``rule `errors`: ``; what has no name is counted from 1."""
    name = table.get("name")
    if isinstance(name, str) and name and path[0] != "route":
        return f"{path[0]} `{name[:63]}`: "
    return f"{path[0]} {int(path[1]) + 1}: "


def _hint(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = suggest(word, names)
    if near is not None:
        return f"did you mean `{near}`?"
    return f"known: {', '.join(names)}" if names else ""
