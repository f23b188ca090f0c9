"""Rule sets: immutable versions, one of them active.

A set is stored as the files it was written in, with one row a rule for people to query. Which set
is active changes under an advisory lock that every ingest transaction holds shared while it counts
hits; so each committed hit was counted under the set that was active at its commit, and none is
missed at a change. The exclusive lock is asked for with a short time-out, again and again: who
waits for it makes all ingest wait behind.

A rule that costs too much is frozen (:func:`freeze`) by one more set, of the same files, that names
it. The next set that is applied, also of the same files, has no frozen rules.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from outrider.errors import Fault, Reason
from outrider.instants import to_us
from outrider.retry import Backoff
from outrider_alerting import rule_files
from outrider_alerting.frozen import Frozen
from outrider_alerting.rules import ENGINE_VERSION, Changes, RuleSet, definition, diff
from outrider_alerting.watches import hits_key
from outrider_collector.store import feed, health
from outrider_collector.store.audit import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from psycopg import AsyncConnection

FILES_BYTES_MAX: Final = 4 << 20
APPLY_WITHIN_S: Final = 30.0
ACTOR_BYTES_MAX: Final = 128
FREEZER: Final = "outrider"
"""Who applies a set that freezes rules."""
FREEZING_ENGINE: Final = 3
"""An older engine would go on evaluating what is frozen."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Active:
    """The active set."""

    version: int
    rule_set: RuleSet
    # Name to TOML text, as applied.
    files: dict[str, str]
    # Rules that cost too much, by name: neither counted nor evaluated.
    frozen: dict[str, Frozen]


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying did, or would do."""

    # Of the active set afterwards; 0 where none ever was.
    version: int
    changes: Changes
    # False: the files are what is active already, or nothing was to be stored.
    stored: bool
    # Rules that were frozen up to now, and are counted again once this is applied.
    thawed: dict[str, Frozen]


async def active_version(connection: AsyncConnection) -> int | None:
    """Return the version of the active set; None before the first."""
    cursor = await connection.execute("select version from active_rule_set", prepare=True)
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def active(connection: AsyncConnection) -> Active | None:
    """Read the active set. Raises RULES_TOO_NEW where this engine cannot evaluate it."""
    cursor = await connection.execute(
        "select s.version, s.files, s.minimum_engine, s.frozen"
        " from active_rule_set a join rule_sets s using (version)",
        prepare=True,
    )
    row = await cursor.fetchone()
    return None if row is None else _compiled(*row)


async def load(connection: AsyncConnection, version: int) -> Active:
    """Read a set by its version, active or not. Raises RULES_TOO_NEW, NOT_FOUND."""
    cursor = await connection.execute(
        "select version, files, minimum_engine, frozen from rule_sets where version = %s",
        (version,),
    )
    row = await cursor.fetchone()
    if row is None:
        raise Fault(
            Reason.NOT_FOUND,
            detail=f"there is no rule set {version}, or this login, which does not see every "
            "team, may not read its files",
        )
    return _compiled(*row)


def _compiled(
    version: int, files: list[dict[str, str]], minimum_engine: int, frozen: dict[str, Any]
) -> Active:
    if minimum_engine > ENGINE_VERSION:
        raise Fault(
            Reason.RULES_TOO_NEW,
            detail=f"rule set {version} needs engine {minimum_engine}, this collector has "
            f"{ENGINE_VERSION}: upgrade this collector",
            version=version,
        )
    texts = {file["name"]: file["toml"] for file in files}
    try:
        rule_set = rule_files.read(texts.items())
        return Active(version, rule_set, texts, msgspec.convert(frozen, dict[str, Frozen]))
    except (rule_files.RulesInvalid, msgspec.ValidationError) as error:
        # It was accepted when it was applied, so the code that reads it now is another.
        raise Fault(
            Reason.RULES_TOO_NEW,
            detail=f"rule set {version} cannot be read by this collector: {error}: "
            "upgrade it, or apply rules that it can read",
            version=version,
        ) from error


async def preview(connection: AsyncConnection, files: Mapping[str, str]) -> Applied:
    """Say what applying these files would change. Raises RULE_INVALID."""
    rule_set = _read(files)
    before = await active(connection)
    changes = diff(before.rule_set if before else RuleSet(), rule_set)
    thawed = before.frozen if before else {}
    return Applied(before.version if before else 0, changes, stored=False, thawed=thawed)


async def apply(
    connection: AsyncConnection,
    files: Mapping[str, str],
    actor: str,
    *,
    within_s: float = APPLY_WITHIN_S,
) -> Applied:
    """Make these files the active set, as a new version unless they are what is active already.

    Rules that were frozen are counted again. Raises RULE_INVALID, or STORE_DOWN when ingest never
    left room within ``within_s`` seconds.
    """
    rule_set = _read(files)
    return await _persistently(
        lambda: _activate(connection, files, rule_set, actor), within_s=within_s
    )


async def freeze(
    connection: AsyncConnection,
    version: int,
    why: Mapping[str, str],
    *,
    within_s: float = APPLY_WITHIN_S,
) -> int | None:
    """Freeze rules of a set, name to what they cost; returns the new version.

    None, and nothing is done, where another set is active by now: it may be another rule. Raises
    STORE_DOWN when ingest never left room within ``within_s`` seconds, RULES_TOO_NEW where a
    collector is there that would refuse such a set, and all batches with it.
    """
    return await _persistently(lambda: _freeze(connection, version, why), within_s=within_s)


async def _persistently(act: Callable[[], Awaitable[_T]], *, within_s: float) -> _T:
    """Act when the exclusive lock can be had. Raises STORE_DOWN."""
    deadline = time.monotonic() + within_s
    backoff = Backoff(0.05, 0.5, random.random)
    while True:
        try:
            return await act()
        except psycopg.errors.LockNotAvailable as error:
            wait_s = backoff.next()
            if time.monotonic() + wait_s > deadline:
                raise Fault(
                    Reason.STORE_DOWN,
                    detail=f"the rules could not be activated within {within_s:g} s beside "
                    "running commits: try again",
                ) from error
            await asyncio.sleep(wait_s)


async def _activate(
    connection: AsyncConnection, files: Mapping[str, str], rule_set: RuleSet, actor: str
) -> Applied:
    async with feed.transaction(connection):
        before = await _lock(connection)
        old = before.rule_set if before else RuleSet()
        frozen = before.frozen if before else {}
        changes = diff(old, rule_set)
        if before is not None and before.files == dict(files) and not frozen:
            return Applied(before.version, changes, stored=False, thawed={})
        version = await _store(connection, files, rule_set, actor, {})
        act = _act(actor, before.version if before else None, version, changes)
        await _commit(connection, act, version, changes)
    return Applied(version, changes, stored=True, thawed=frozen)


async def _freeze(connection: AsyncConnection, version: int, why: Mapping[str, str]) -> int | None:
    # Before the lock, for which all commits would wait.
    await _require_all_can_freeze(connection)
    async with feed.transaction(connection):
        before = await _lock(connection)
        if before is None or before.version != version or not why.keys() - before.frozen.keys():
            return None
        now_us = to_us(await health.clock(connection))
        new = {name: Frozen(why=text, since_us=now_us) for name, text in why.items()}
        frozen = new | before.frozen
        frozen_by = await _store(connection, before.files, before.rule_set, FREEZER, frozen)
        reasons = "; ".join(f"rule {name} is frozen: {text}" for name, text in sorted(why.items()))
        act = log.Act(
            "config.changed", FREEZER, "rules", {"version": frozen_by, "frozen": len(frozen)},
            before=version, after=frozen_by, reason=reasons,
        )  # fmt: skip
        await _commit(connection, act, frozen_by, Changes((), (), ()))
    return frozen_by


async def _require_all_can_freeze(connection: AsyncConnection) -> None:
    """Nobody ordered a freeze, so it must not stop a collector of the version before."""
    if (old := await health.older(connection, "engine", FREEZING_ENGINE)) is not None:
        raise Fault(
            Reason.RULES_TOO_NEW,
            detail=f"collector {old.name} is of a version that would take no more batches: "
            "upgrade it",
        )


async def _lock(connection: AsyncConnection) -> Active | None:
    """Keep commits out, and read what is active."""
    await connection.execute("set local lock_timeout = '200ms'")
    await connection.execute("select pg_advisory_xact_lock(rules_lock_key())")
    return await active(connection)


async def _commit(
    connection: AsyncConnection, act: log.Act, version: int, changes: Changes
) -> None:
    # The feed's lock is taken last and waits as long as others' commits take.
    await connection.execute("set local lock_timeout = '5s'")
    detail = {"version": version, "actor": act.actor, **changes._asdict()}
    await log.commit(connection, act, "rules", detail)


def _act(actor: str, before: int | None, version: int, changes: Changes) -> log.Act:
    numbers = {
        "version": version,
        "added": len(changes.added),
        "changed": len(changes.changed),
        "removed": len(changes.removed),
    }
    return log.Act("config.changed", actor, "rules", numbers, before=before, after=version)


async def _store(
    connection: AsyncConnection,
    files: Mapping[str, str],
    rule_set: RuleSet,
    actor: str,
    frozen: Mapping[str, Frozen],
) -> int:
    """Make this the active set, under a new version."""
    texts = [{"name": name, "toml": toml} for name, toml in sorted(files.items())]
    cursor = await connection.execute(
        """
        insert into rule_sets (version, applied_by, files, minimum_engine, frozen)
        select coalesce(max(version), 0) + 1, %s, %s, %s, %s from rule_sets
        returning version
        """,
        (
            actor,
            Jsonb(texts),
            max(rule_set.minimum_engine, FREEZING_ENGINE if frozen else 1),
            Jsonb(msgspec.to_builtins(frozen)),
        ),
    )
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101  an insert from an aggregate returns one row
    version: int = row[0]
    rows: list[tuple[Any, ...]] = [
        (version, rule.name, rule.kind, hits_key(rule), Jsonb(definition(rule)))
        for rule in rule_set.rules
    ]
    async with connection.cursor() as many:
        await many.executemany(
            "insert into rule_versions (version, name, kind, hits_key, definition)"
            " values (%s, %s, %s, %s, %s)",
            rows,
        )
    await connection.execute(
        "insert into active_rule_set (version) values (%s)"
        " on conflict (singleton) do update set version = excluded.version",
        (version,),
    )
    return version


def _read(files: Mapping[str, str]) -> RuleSet:
    """Read the files, whose sizes are checked here. Raises RULE_INVALID."""
    size = sum(len(text.encode("utf-8", "replace")) for text in files.values())
    if size > FILES_BYTES_MAX:
        raise Fault(
            Reason.RULE_INVALID,
            detail=f"the rules have {size:,} bytes, at most {FILES_BYTES_MAX:,} can be applied",
        )
    try:
        return rule_files.read(files.items())
    except rule_files.RulesInvalid as error:
        raise Fault(Reason.RULE_INVALID, detail=str(error)) from error
