"""From facts to findings: where the limits are. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider import durations
from outrider.sizes import said as size
from outrider_collector.config import is_reached
from outrider_collector.doctor.finding import Finding
from outrider_collector.store.budget.limits import SOON_S
from outrider_collector.store.reading.completeness import REPLICA_BEHIND_S, cure_of_blind
from outrider_collector.store.reading.standstill import standstills, unevaluated

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from outrider_alerting.rules import RuleSet
    from outrider_collector.doctor.finding import Level
    from outrider_collector.store.reading.room import Room
    from outrider_collector.store.reading.types import Agent, Collector
    from outrider_collector.store.roles import Sight
    from outrider_collector.store.schema import State

SERVER_MIN: Final = 150_000
SKEW_WARN_S: Final = 1.0
SKEW_BAD_S: Final = 60.0
HOURS_WARN: Final = 20
HOURS_BAD: Final = 2
FREE_WARN: Final = 0.10
FREE_BAD_BYTES: Final = 200 << 20
_SHOWN: Final = 5


def server(version: int, name: str, *, has_lz4: bool, is_ours: bool = False) -> Finding:
    """Judge the server's version and whether it was built with lz4; ``is_ours``: embedded."""
    if version < SERVER_MIN:
        return Finding("bad", "database", f"Postgres {name}", "upgrade it to 15 or newer")
    if not has_lz4 and is_ours:
        return Finding(
            "note",
            "database",
            f"Postgres {name}, embedded, built without lz4: logs lie uncompressed",
        )
    if not has_lz4:
        return Finding(
            "warn", "database", f"Postgres {name}, built without lz4",
            "logs lie uncompressed: use a build with lz4, as most distributions have",
        )  # fmt: skip
    return Finding("ok", "database", f"Postgres {name}, with lz4")


def installations(variable: str, settings: str, *, is_configured: bool) -> Finding | None:
    """Judge whether $OUTRIDER_DATABASE_URL leads elsewhere than the settings; no passwords.

    ``is_configured``: the settings name a database, there is not only an embedded one.
    """
    if variable == settings:
        return None
    if not is_configured:
        return Finding(
            "note", "database", f"OUTRIDER_DATABASE_URL ({variable}) is used, not the embedded one "
            f"({settings})", "a command without the variable asks that one",
        )  # fmt: skip
    return Finding(
        "warn", "database", f"OUTRIDER_DATABASE_URL ({variable}) is used, [database] of the "
        f"settings names another ({settings})", "unset the variable, or correct the settings",
    )  # fmt: skip


def schema(state: State) -> Finding:
    """Judge how the schema stands to this version."""
    if state.minimum is not None:
        fact = f"schema {state.newer} is too new for this version"
        return Finding("bad", "schema", fact, "upgrade Outrider on this host")
    if state.drifted:
        fact = f"{state.drifted[0]} was changed after it was applied"
        return Finding("bad", "schema", fact, "install the version that made this database")
    if state.pending and not state.version:
        fact = "no tables of Outrider: is it the right database?"
        return Finding("bad", "schema", fact, "correct the URL, else run 'outrider store migrate'")
    if state.pending:
        fact = f"schema {state.version}, {len(state.pending)} to apply"
        return Finding("bad", "schema", fact, "run 'outrider store migrate'")
    if state.newer is not None:
        fact = f"schema {state.newer} is newer than this version, which works with it"
        return Finding("note", "schema", fact, "upgrade Outrider on this host when you can")
    return Finding("ok", "schema", f"schema {state.version} is in place")


def read_role(name: str, *, exists: bool, may_take: bool) -> Finding:
    """Judge whether readers can be kept from writing by the database itself."""
    if not exists:
        return Finding(
            "warn", "roles", f"there is no role {name}, pages read as the owner",
            "'outrider store migrate' prints what an administrator has to run",
        )  # fmt: skip
    if not may_take:
        return Finding(
            "warn", "roles", f"this user may not take the role {name}",
            "'outrider store migrate' prints what an administrator has to run",
        )  # fmt: skip
    return Finding("ok", "roles", f"readers use {name}, which cannot write")


def agent_settings(
    error: str, problems: Sequence[str], *, is_wrong: bool = False, is_done: bool = True
) -> Finding:
    """Judge what ``outrider agent check`` says of the settings; ``is_wrong``: they are no settings.

    What it finds else depends on whose account looks, so that is for the agent's own to decide.
    """
    if not is_done:
        return Finding("note", "agent", "'outrider agent check' takes long: run it by hand")
    if is_wrong and "is not installed" not in error:
        return Finding("bad", "agent", error)
    if error:
        return Finding("note", "agent", f"its settings cannot be checked here: {error}")
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        return Finding(
            "note", "agent", f"{problems[0]}{more}", "run 'outrider agent check' as its account"
        )
    return Finding("ok", "agent", "its settings can be read")


def locks(*, open_to_all: bool) -> Finding:
    """Judge whether a login that only reads can take the locks that commits wait for."""
    if open_to_all:
        return Finding(
            "note", "roles", "who only reads can stop commits by an advisory lock",
            "'outrider store migrate' prints what a superuser can run against it",
        )  # fmt: skip
    return Finding("ok", "roles", "advisory locks are for those who commit")


def room_of_readers(*, fillable_by_all: bool) -> Finding:
    """Judge whether a login that only reads can fill the disk."""
    if fillable_by_all:
        return Finding(
            "note", "roles", "who only reads can fill the disk by large objects, temporary tables",
            "'outrider store migrate' prints what a superuser can run against it",
        )  # fmt: skip
    return Finding("ok", "roles", "large objects and temporary tables are not for who only reads")


def readers(where: str, sight: Sight) -> Finding:
    """Judge what pages and ``outrider logs`` see."""
    login = sight.login
    if not sight.seen:
        return Finding(
            "bad", "readers", f"the login {login} sees no team, so no line: {where}",
            cure_of_blind(login),
        )  # fmt: skip
    if sight.behind_s is not None:
        fact = f"a replica, {sight.behind_s:.0f} s behind: {where}"
        if sight.behind_s > REPLICA_BEHIND_S:
            return Finding("warn", "readers", fact, "see pg_stat_replication on its primary")
        return Finding("ok", "readers", fact)
    if sight.seen < sight.teams:
        fact = f"{login} sees {sight.seen} of {sight.teams} teams: {where}"
        return Finding("note", "readers", fact)
    return Finding("ok", "readers", f"{login} sees every team: {where}")


def clock(skew_s: float) -> Finding:
    """Judge this host's clock against the database's; positive: this host is ahead."""
    fact = f"{abs(skew_s):.3f} s {'ahead of' if skew_s > 0 else 'behind'} the database's"
    if abs(skew_s) < SKEW_WARN_S:
        return Finding("ok", "clock", fact)
    level: Level = "bad" if abs(skew_s) >= SKEW_BAD_S else "warn"
    return Finding(level, "clock", fact, "let both hosts follow NTP (chrony, systemd-timesyncd)")


def partitions(hours_left: int) -> Finding:
    """Judge for how many hours there is a place for what arrives."""
    fact = f"made for the next {hours_left} hours"
    if hours_left >= HOURS_WARN:
        return Finding("ok", "partitions", fact)
    level: Level = "bad" if hours_left < HOURS_BAD else "warn"
    return Finding(
        level, "partitions", fact,
        "a running collector makes them: see its log, or run 'outrider store migrate'",
    )  # fmt: skip


def disk(path: str, total_bytes: int, free_bytes: int) -> Finding:
    """Judge the room on the disk of a directory."""
    fact = f"{size(free_bytes)} of {size(total_bytes)} free at {path}"
    if free_bytes < FREE_BAD_BYTES:
        return Finding("bad", "disk", fact, "free some, or lower `retention.app`")
    if free_bytes < FREE_WARN * total_bytes:
        return Finding("warn", "disk", fact, "free some, or lower `retention.app`")
    return Finding("ok", "disk", fact)


def collectors(found: Sequence[Collector], now: datetime) -> Iterable[Finding]:
    """Judge what the collectors last published."""
    still = standstills(found)
    for stop in still:
        since = _ago(stop.since, now)
        if stop.kind == "not_committing":
            fact = f"commits of {stop.collector} fail for {since}"
        else:
            fact = f"unknown, none has reported for {since}"
        yield Finding("bad", "collector", fact, stop.reason)
    for stop in unevaluated(found):
        fact = f"alerts are not evaluated for {_ago(stop.since, now)}"
        yield Finding("bad", "alerts", fact, stop.reason)
    failing = {stop.collector for stop in still}
    for one in found:
        if one.alive and one.name not in failing:
            rate = one.status.get("records_per_s", 0)
            yield Finding("ok", "collector", f"{one.name} is alive, {rate:,} records/s")
    if not found:
        start = "start one: 'outrider collector' or 'outrider up'"
        yield Finding("bad", "collector", "none has ever reported", start)


def address(listen: str, *, answers: bool) -> Finding:
    """Judge whether somebody answers where this host's settings say that the collector is."""
    if answers:
        return Finding("ok", "collector", f"{listen} answers")
    return Finding(
        "bad", "collector", f"nobody answers at {listen}",
        "start it, or correct `listen` of [collector]",
    )  # fmt: skip


def room(known: Room | None) -> Iterable[Finding]:
    """Judge how much room the store has, as its collectors measured it."""
    if known is None:
        return
    what_to_do = (
        "raise `store.disk_budget`, or lower [retention]: 'outrider store stats' says what a "
        "day of each class costs"
    )
    soon = known.full_in_s is not None and known.full_in_s < SOON_S
    level: Level = "bad" if known.level == "hold" else "warn"
    if known.level == "well" and not soon:
        yield Finding("ok", "disk", f"the store has {known.said}")
    else:
        yield Finding(level, "disk", f"the store has {known.said}", what_to_do)


def collectors_of_agent(listen: str, told: Sequence[str], file: str) -> Finding | None:
    """Judge whether the agent of these settings looks for the collector of the same where it is."""
    if is_reached(listen, told):
        return None
    return Finding(
        "warn", "agent", f"it looks for a collector on {', '.join(told)}, and the one of these "
        f"settings listens on {listen}", f"correct `collectors` of [agent]: {file}",
    )  # fmt: skip


def agents(
    found: Sequence[Agent], now: datetime, *, looks_elsewhere: bool = False
) -> Iterable[Finding]:
    """Judge the agents: those in trouble by name, the rest by number.

    ``looks_elsewhere``: the agent of these settings does not find the collector.
    """
    present = [agent for agent in found if agent.revoked_at is None and agent.state != "retired"]
    if not present:
        cure = (
            "correct `collectors` of [agent]" if looks_elsewhere else "start one: 'outrider agent'"
        )
        yield Finding("warn", "agents", "none is connected", cure)
        return
    ill = [agent for agent in present if agent.state != "up"]
    for agent in ill[:_SHOWN]:
        since = f", for {_ago(agent.since, now)}" if agent.since else ""
        reason = f" ({agent.reason})" if agent.reason else ""
        level: Level = "bad" if agent.state in {"silent", "dead"} else "warn"
        yield Finding(
            level, "agents", f"{agent.host} is {agent.state}{reason}{since}",
            "on that host: 'outrider agent status', and its log",
        )  # fmt: skip
    if len(ill) > _SHOWN:
        yield Finding("bad", "agents", f"{len(ill) - _SHOWN} more", "see 'outrider status'")
    if well := len(present) - len(ill):
        yield Finding("ok", "agents", f"{well} up")


def rules(version: int | None, rule_set: RuleSet | None) -> Iterable[Finding]:
    """Judge what is active: without rules, channels or routes nobody hears of anything."""
    if version is None or rule_set is None:
        yield Finding(
            "warn", "rules", "none is active, nothing alerts", "'outrider rules apply DIR'"
        )
        return
    if not rule_set.rules:
        yield Finding("warn", "rules", f"set {version} has no rule", "add a [[rule]] and apply it")
    else:
        yield Finding("ok", "rules", f"set {version} is active, {len(rule_set.rules)} rules")
    if not rule_set.channels:
        # A choice of whoever begins, not a fault: with one that leads nowhere it is another matter.
        yield Finding(
            "note", "channels", "there is none, alerts are told in the dashboard only",
            "to be told elsewhere, add a [[channel]] and a [[route]] to the rules",
        )  # fmt: skip
    reached = {name for route in rule_set.routes for name in route.channels}
    for channel in rule_set.channels:
        if channel.name not in reached:
            yield Finding("warn", "channels", f"no route leads to {channel.name}", "add it to one")


def channel(name: str, error: str, *, is_collector_host: bool) -> Finding:
    """Judge whether a channel's secrets can be used; ``error`` is empty where they can."""
    if not error:
        return Finding(
            "ok", "channels", f"{name} has its secrets: try 'outrider notify test {name}'"
        )
    if is_collector_host:
        return Finding("bad", "channels", error)
    return Finding("warn", "channels", f"{error}; that is fine where the collector runs elsewhere")


def deliveries(failed: Mapping[str, int]) -> Iterable[Finding]:
    """Judge messages that did not arrive since the last that did, by channel."""
    for name, count in failed.items():
        last = "the last message" if count == 1 else f"the last {count:,} messages"
        yield Finding(
            "warn", "channels", f"{last} to {name} did not arrive",
            f"'outrider alerts explain ID' says why, 'outrider notify test {name}' tries again",
        )  # fmt: skip


def _ago(since: datetime, now: datetime) -> str:
    return durations.said((now - since).total_seconds())
