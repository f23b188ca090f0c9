"""Tells the people on duty that this collector can store nothing (:mod:`outrider_alerting.outage`).

It looks at the database by a connection of its own, and at the commits' own complaint, so that a
database that answers and refuses (a full disk, a revoked grant) is told too. While all is well it
keeps a copy of the active rule set in a file: after a start without a database, that names the
channels. A second file holds what was told whom. It is written before each socket and goes when the
incident stands in the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from psycopg.errors import InsufficientPrivilege

from outrider.errors import Fault, Reason
from outrider.instants import from_unix_us
from outrider_alerting import outage, rule_files
from outrider_alerting.channels.build import Outlet
from outrider_alerting.channels.channel import Message
from outrider_alerting.channels.outcome import Failed, Outcome, Retry, Sent, Unknown
from outrider_alerting.outage import Incident, Told
from outrider_alerting.routing import destinations
from outrider_alerting.rules import IN_APP, RuleSet
from outrider_collector.store import incidents, rules
from outrider_collector.store.connect import connect, driver_errors
from outrider_collector.waiting import first_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from psycopg import AsyncConnection

    from outrider_collector.alerts.outlets import Outlets

_log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 5.0
LOOK_WITHIN_S: Final = 10.0
"""A database that does not answer a look for so long is away."""
AGAIN_S: Final = 10.0
"""A channel that could not be told is tried again after so long."""
RULES_FILE: Final = "known-rules.json"
INCIDENT_FILE: Final = "database-incident-{}.json"
TELL_AFTER_S: Final = 30.0
"""A restart of Postgres takes less."""
CLEAR_S: Final = 30.0
"""Without a commit that succeeded, an incident is over when nothing was refused for so long."""

# A full disk refuses what makes a file grow, be it of a temporary table; many a small update still
# finds room, and where no batch comes no commit complains.
_ROOM: Final = "create temporary table if not exists room (filling bytea) on commit delete rows"
_FILL: Final = """
    insert into room
    select decode(string_agg(md5(random()::text), ''), 'hex') from generate_series(1, 4096)
"""

_Kept = TypeVar("_Kept", bound=msgspec.Struct)


class _KnownRules(msgspec.Struct):
    """A copy of the active rule set."""

    version: int
    files: dict[str, str]


class DatabaseAlarm:
    """See the module's page.

    ``refusal`` says why commits fail, empty while they do not; ``commits`` counts those that
    succeeded. ``clock`` is the wall clock in microseconds since 1970: an incident is told by the
    time of day, and outlives the process. How long it lasts is told by ``timer``, in seconds, which
    nobody sets.
    """

    def __init__(
        self,
        url: str,
        collector: str,
        directory: Path,
        outlets: Outlets,
        refusal: Callable[[], str],
        commits: Callable[[], int],
        *,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000,
        timer: Callable[[], float] = time.monotonic,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._url = url
        self._collector = collector
        self._rules_file = directory / RULES_FILE
        # Several collectors may share the directory.
        name = hashlib.sha256(collector.encode()).hexdigest()[:8]
        self._incident_file = directory / INCIDENT_FILE.format(name)
        self._outlets = outlets
        self._refusal = refusal
        self._commits = commits
        self._clock = clock
        self._timer = timer
        self._began_s = 0.0
        self._clear_since_s: float | None = None
        self._commits_before = 0
        self._look_every_s = look_every_s
        self._connection: AsyncConnection | None = None
        self._rule_set = RuleSet()
        self._version: int | None = None
        self._incident: Incident | None = None
        self._next_try_s: dict[str, float] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Look until ``stop``."""
        await self.load()
        try:
            while not stop.is_set():
                await self.look()
                await first_of(self._look_every_s, stop)
        finally:
            await self.close()

    async def load(self) -> None:
        """Take up what the process before knew and told."""
        self._incident = _read(self._incident_file, Incident)
        self._began_s, self._clear_since_s, self._commits_before = self._timer(), None, 0
        await self._know(_read(self._rules_file, _KnownRules))

    async def close(self) -> None:
        """Let go of connections."""
        await self._disconnect()
        await self._outlets.close()

    async def look(self) -> None:
        """Look once, and tell what there is to tell."""
        reason = await self._trouble()
        if reason:
            self._clear_since_s = None
            await self._goes_on(reason)
        elif self._incident is not None and self._is_clear():
            await self._is_over(self._incident)

    def _is_clear(self) -> bool:
        """Whether it is shown that things can be stored, not merely that nobody complains.

        A collector that was just started has not tried yet.
        """
        now_s = self._timer()
        self._clear_since_s = now_s if self._clear_since_s is None else self._clear_since_s
        return self._commits() > self._commits_before or now_s - self._clear_since_s >= CLEAR_S

    async def _trouble(self) -> str:
        """Return why nothing can be stored, empty where it can."""
        try:
            async with asyncio.timeout(LOOK_WITHIN_S):
                if self._connection is None:
                    self._connection = await connect(self._url, application_name="outrider alarm")
                with driver_errors(self._url):
                    await self._follow_rules(self._connection)
                    await self._fill(self._connection)
        except TimeoutError:
            await self._disconnect()
            return f"the database does not answer within {LOOK_WITHIN_S:.0f} s"
        except Fault as fault:
            # Rules that this version cannot read are told elsewhere, and are no outage.
            if fault.reason is not Reason.RULES_TOO_NEW:
                await self._disconnect()
                return fault.text
        return self._refusal()

    async def _fill(self, connection: AsyncConnection) -> None:
        """See that there is room for something new; who may make no table cannot see it."""
        try:
            await connection.execute(_ROOM)
            await connection.execute(_FILL)
        except InsufficientPrivilege:
            _log.debug("this login may make no temporary table")

    async def _follow_rules(self, connection: AsyncConnection) -> None:
        version = await rules.active_version(connection)
        if version is None or version == self._version:
            return
        active = await rules.active(connection)
        if active is not None:
            known = _KnownRules(active.version, active.files)
            _write(self._rules_file, known)
            await self._know(known)

    async def _know(self, known: _KnownRules | None) -> None:
        if known is None:
            return
        try:
            self._rule_set = rule_files.read(known.files.items())
        except rule_files.RulesInvalid as error:
            _log.warning("%s is left out: %s", self._rules_file, error)
            return
        self._version = known.version
        await self._outlets.use(self._rule_set)

    async def _goes_on(self, reason: str) -> None:
        now_us = from_unix_us(self._clock())
        # A commit that succeeds in between is no end: it has to come after the last complaint.
        self._commits_before = self._commits()
        if self._incident is None:
            self._began_s = self._timer()
            self._incident = Incident(
                id=secrets.token_hex(8),
                collector=self._collector,
                since_us=now_us,
                reason=reason,
            )
        if self._timer() - self._began_s < TELL_AFTER_S:
            return
        if self._incident.told_us is None:
            self._incident.told_us = now_us
            _log.error("%s", self._incident.summary())
            self._keep()
        waiting = [self._tell(name) for name in self._to_tell(self._incident)]
        await asyncio.gather(*waiting)

    def _to_tell(self, incident: Incident) -> list[str]:
        """Return the channels to tell now, those included that stand in for failed ones."""
        names = [to.channel for to in destinations(self._rule_set, incident.labels())]
        for name in names:
            told, config = incident.told.get(name), self._rule_set.channel(name)
            stands_in = config.fallback if config else None
            if told and told.fate == "failed" and stands_in and stands_in not in names:
                names.append(stands_in)
        return [
            name
            for name in names
            if name != IN_APP and self._next_try_s.get(name, 0.0) <= self._timer()
            and (name not in incident.told or incident.told[name].is_open)
        ]  # fmt: skip

    async def _tell(self, name: str) -> None:
        incident = self._incident
        assert incident is not None  # noqa: S101  only an incident is told
        now_us = from_unix_us(self._clock())
        before = incident.told.get(name)
        told = incident.told[name] = Told(
            fate="claimed",
            first_us=before.first_us if before else now_us,
            at_us=now_us,
            tries=before.tries + 1 if before else 1,
            unknown=before.unknown + (before.fate in {"unknown", "claimed"}) if before else 0,
        )
        self._keep()
        outcome = await self._attempt(name, incident, now_us, may_repeat=told.unknown > 0)
        told.at_us = from_unix_us(self._clock())
        _note(told, outcome)
        wait_s = max(outcome.after_s, AGAIN_S) if isinstance(outcome, Retry) else AGAIN_S
        self._next_try_s[name] = self._timer() + wait_s
        self._keep()

    async def _attempt(
        self, name: str, incident: Incident, now_us: int, *, may_repeat: bool
    ) -> Outcome:
        outlet = self._outlets.get(name)
        if not isinstance(outlet, Outlet):
            return outlet
        message = Message(
            notification=0,
            alert=0,
            episode=outage.episode(incident.labels()) or incident.id,
            notice="fired",
            content=incident.content(now_us),
            created_us=now_us,
            may_repeat=may_repeat,
        )
        try:
            return await outlet.channel.send(message)
        except Exception as error:  # noqa: BLE001  the border to code that may be anybody's
            _log.exception("channel %s failed on the alarm", name)
            return Unknown(f"bug in the channel: {type(error).__name__}")

    async def _is_over(self, incident: Incident) -> None:
        """Enter the incident into the ledger, if anybody should know of it."""
        if incident.told_us is not None:
            assert self._connection is not None  # noqa: S101  the look just used it
            try:
                with driver_errors(self._url):
                    await incidents.enter(self._connection, incident, from_unix_us(self._clock()))
            except Fault as fault:
                _log.warning("what was told of the database is entered later: %s", fault)
                await self._disconnect()
                return
        self._incident = None
        self._next_try_s.clear()
        self._incident_file.unlink(missing_ok=True)

    def _keep(self) -> None:
        _write(self._incident_file, self._incident)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.close()


def _note(told: Told, outcome: Outcome) -> None:
    if isinstance(outcome, Sent):
        told.fate, told.provider_id, told.error = "sent", outcome.provider_id, outcome.remark
    elif isinstance(outcome, Retry):
        told.fate, told.error = "retry", outcome.reason
    elif isinstance(outcome, Failed):
        told.fate, told.error = "failed", outcome.reason
    else:
        told.fate, told.error = "unknown", outcome.reason


def _read(path: Path, kind: type[_Kept]) -> _Kept | None:
    """Return what a file holds; None where there is none, or none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        _log.warning("%s cannot be read and is left out: %s", path, error)
        return None


def _write(path: Path, what: Any) -> None:
    """Replace a file; a disk that is full too must not keep people from being told."""
    beside = path.with_suffix(".new")
    try:
        beside.write_bytes(msgspec.json.encode(what))
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        _log.warning("%s cannot be written: %s", path, error)
