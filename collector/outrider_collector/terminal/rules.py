"""``outrider rules``: check, test, compare, back-test and apply a directory of rule files."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from outrider.command import DONE, FAILED, FOUND, USAGE
from outrider.visible import visible
from outrider_alerting import cases, rule_files
from outrider_alerting.rules import RuleSet, altered
from outrider_collector import config as configuration
from outrider_collector.alerts.rule_directory import read_directory, secret_notes, undone_by
from outrider_collector.store import rules as store_rules
from outrider_collector.terminal import backtest
from outrider_collector.terminal.commands import Parser, actor, admin, read_store, say

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sized

    from psycopg import AsyncConnection

    from outrider_alerting.rules import Altered

    Keys = list[Altered]


def rules(argv: list[str]) -> int:
    """Check, test, compare and apply a directory of rule files; return the exit code."""
    parser = Parser("rules", "Rules, channels and routes: one set, applied as a version.")
    for name, what in (
        (
            "lint",
            "check the files; exit 3 when a rule is wrong or doubtful, 0 with a note on a secret",
        ),
        ("test", "run the tests that stand beside the rules; exit 1 when one fails"),
        ("diff", "what applying them would change; exit 3 when there is something"),
        ("apply", "make them the active set"),
    ):
        parser.act(name, what).add_argument("directory", metavar="DIR")
    past = parser.act("backtest", "what they would have told of the past, beside what was told")
    past.add_argument("directory", metavar="DIR")
    backtest.options(past)
    return parser.run(
        argv,
        {"lint": _lint, "test": _test, "diff": _diff, "apply": _apply, "backtest": _backtest},
    )


async def _lint(arguments: argparse.Namespace) -> int:
    files = read_directory(arguments.directory)
    problems = rule_files.lint(files.items())
    secrets_dir = configuration.load(arguments.config).data_dir / "collector"
    # They are no mistake of the rules: only the collector's host needs the secrets.
    warnings = [*secret_notes(files, secrets_dir)]
    if arguments.json:
        told = [problem._asdict() for problem in problems]
        say(json.dumps([*told, *(warning._asdict() for warning in warnings)]))
    else:
        for problem in problems:
            say(visible(f"{problem}" if problem.is_error else f"doubtful: {problem}"))
        for warning in warnings:
            sys.stderr.write(f"outrider: warning: {visible(str(warning))}\n")
    if problems:
        return FOUND
    if not arguments.json:
        found = rule_files.read(files.items())
        say(
            f"in order: {_count(found.rules, 'rule')}, {_count(found.channels, 'channel')}, "
            f"{_count(found.routes, 'route')}"
            + (f", {_count(warnings, 'warning')}" if warnings else "")
        )
    return DONE


async def _test(arguments: argparse.Namespace) -> int:
    files = read_directory(arguments.directory)
    if _refuse(files):
        return USAGE
    count, failures = cases.run(rule_files.read(files.items()))
    told = [(failure, _place(files, failure)) for failure in failures]
    if arguments.json:
        listed = [{**failure._asdict(), "where": where} for failure, where in told]
        say(json.dumps({"tests": count, "failures": listed}))
        return FAILED if failures else DONE
    for failure, where in told:
        test = f"rule `{failure.rule}`: test {failure.case + 1}"
        say(visible(f"{test}: {failure.message}: {where}"))
    failed = len({(failure.rule, failure.case) for failure in failures})
    tests = f"{count} test{'' if count == 1 else 's'}"
    if not count:
        say("no tests: write them below a rule as [[rule.test]]")
    else:
        say(f"{failed} of {tests} failed" if failed else f"{tests} passed")
    return FAILED if failures else DONE


def _place(files: dict[str, str], failure: cases.Failure) -> str:
    key = f"test[{failure.case}].expect[{failure.expect}]"
    return rule_files.place_of(files, failure.rule, key)


def _count(items: Sized, word: str) -> str:
    return f"{len(items)} {word}{'' if len(items) == 1 else 's'}"


async def _diff(arguments: argparse.Namespace) -> int:
    files = read_directory(arguments.directory)
    if _refuse(files):
        return USAGE
    new = rule_files.read(files.items())

    async def read(connection: AsyncConnection) -> tuple[store_rules.Applied, dict[str, Keys]]:
        active = await store_rules.active(connection)
        old = active.rule_set if active else RuleSet()
        return await store_rules.preview(connection, files), altered(old, new)

    preview, keys = await read_store(arguments, read)
    changes = preview.changes._asdict()
    if arguments.json:
        frozen = {name: told.why for name, told in preview.thawed.items()}
        told_keys = {name: [key._asdict() for key in of] for name, of in keys.items()}
        say(json.dumps({"version": preview.version, **changes, "keys": told_keys,
                        "frozen": frozen}))  # fmt: skip
        return FOUND if preview.changes else DONE
    for name, told in sorted(preview.thawed.items()):
        say(visible(f"rule {name} is frozen, until rules are applied: {told.why}"))
    if not preview.changes:
        say(f"no difference to rule set {preview.version}")
    else:
        say("\n".join(_with_keys(_changed(**changes), keys)))
    return FOUND if preview.changes else DONE


def _with_keys(lines: Iterable[str], keys: dict[str, Keys]) -> Iterable[str]:
    """Put below each rule and channel that changed what it says now instead."""
    for line in lines:
        yield line
        for key in keys.get(line.removeprefix("~ "), ()):
            yield f"    {key.key}: {_value(key.before)} -> {_value(key.after)}"


def _value(value: object) -> str:
    return "nothing" if value is None else visible(json.dumps(value, ensure_ascii=False))[:200]


async def _apply(arguments: argparse.Namespace) -> int:
    files = read_directory(arguments.directory)
    if _refuse(files):
        return USAGE
    async with admin(arguments) as client:
        done = await client.apply_rules(files, actor())
    changes = {"added": done.added, "changed": done.changed, "removed": done.removed}
    if arguments.json:
        say(json.dumps({"version": done.version, **changes}))
    else:
        say("\n".join([*_changed(**changes), f"rule set {done.version} is active"]))
    data_dir = configuration.load(arguments.config).data_dir
    if (theirs := undone_by(arguments.directory, files, data_dir)) is not None:
        sys.stderr.write(
            f"outrider: the next start of `outrider up` undoes this: it applies "
            f"{visible(str(theirs))}: keep your rule files there\n"
        )
    return DONE


async def _backtest(arguments: argparse.Namespace) -> int:
    files = read_directory(arguments.directory)
    if _refuse(files):
        return USAGE
    rule_set = rule_files.read(files.items())
    report = await read_store(arguments, lambda c: backtest.run(c, rule_set, arguments))
    say(backtest.show(report, as_json=arguments.json))
    return DONE


def _refuse(files: dict[str, str]) -> bool:
    """Tell what is wrong with the files, if something is."""
    errors = [problem for problem in rule_files.lint(files.items()) if problem.is_error]
    for problem in errors:
        sys.stderr.write(f"outrider: {visible(str(problem))}\n")
    return bool(errors)


def _changed(added: Iterable[str], changed: Iterable[str], removed: Iterable[str]) -> Iterable[str]:
    yield from (f"+ {visible(name)}" for name in added)
    yield from (f"~ {visible(name)}" for name in changed)
    yield from (f"- {visible(name)}" for name in removed)
