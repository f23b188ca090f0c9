"""The way in: one transaction for all batches that wait.

The order of a commit, and why:

1. In one round trip: BEGIN, the rules' lock (shared) and the active version, then the claim. With
   another version than the caller's, nothing is stored: its hits would belong to other filters.
   The claim locks the streams' rows in the order of their ids and passes over rows that another
   transaction holds, so two collectors never wait for each other.
2. Blocks of what was claimed, and of nothing else, under a savepoint. Only an error of this step,
   and only of a named kind, is an error of the data; then the bad records are found and kept aside
   (:mod:`~outrider_collector.store.quarantine`). Every other error moves nothing.
3. Losses, hits, ends of streams; records of the audit and security classes into the audit log.
4. The feed row and COMMIT, in one message (:mod:`~outrider_collector.store.feed`).

A lost connection leaves the outcome unknown. The caller submits the same batches again: if they
were committed the claim finds the streams at their end and they are acknowledged again, else they
are stored now. The writer keeps the last feed position it saw and asks every new connection for
it: a database that does not know it was restored or failed over, and every agent must say hello
again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from outrider.columns import ColumnError
from outrider.errors import Fault, Reason
from outrider.failpoint import failpoint
from outrider_alerting.hits import merge_hits
from outrider_collector.store import binary, blocks, claim_sql, feed, quarantine, rows
from outrider_collector.store.audit import log
from outrider_collector.store.audit.entries import entries
from outrider_collector.store.claim import (
    Answer,
    Chain,
    CommitResult,
    PendingBatch,
    batches_of,
    chains,
    judge,
)
from outrider_collector.store.connect import INGEST_ROLE, connect, fault_of
from outrider_collector.store.pipeline import pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from psycopg import AsyncConnection

    from outrider.columns import Columns
    from outrider_alerting.hits import Hit
    from outrider_collector.store.feed import Position


class RuleSetChanged(Exception):  # noqa: N818  not an error: reload and submit again
    """Another rule set is active than the one whose hits were to be counted; nothing was stored."""

    def __init__(self, version: int | None) -> None:
        super().__init__(f"rule set {version} is active")
        self.version = version
        """The active version; None: no rules were ever applied."""


class StoreRegressed(Exception):  # noqa: N818  a finding
    """The database does not know the last commit it answered: it was restored or failed over.

    Raised once, before anything is claimed. End all sessions, so that every agent says hello again.
    """

    def __init__(self, last: Position) -> None:
        super().__init__(f"the database does not know feed number {last.number} of our last commit")
        self.last = last


@dataclass(slots=True)
class _Commit:
    """One transaction as it grows."""

    commit_id: int
    now_us: int
    result: CommitResult
    claimed: list[Chain] = field(default_factory=list)
    told_again: list[PendingBatch] = field(default_factory=list)
    stored: list[tuple[PendingBatch, Columns]] = field(default_factory=list)
    """Records that are in blocks, for the hits and the audit log."""
    losses: list[rows.Loss] = field(default_factory=list)


class Writer:
    """Commits batches, one transaction at a time, over one connection that it reopens when lost."""

    def __init__(
        self,
        url: str,
        *,
        application_name: str = "outrider collector",
        missing_partition: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare; the first commit connects. ``missing_partition``: the present hour has none."""
        self._url = url
        self._application_name = application_name
        self._missing_partition = missing_partition
        self._connection: AsyncConnection | None = None
        self.last: Position | None = None
        """The last feed position this writer saw committed."""

    async def open(self) -> None:
        """Connect and check the store's memory, unless that is done.

        Raises STORE_DOWN or StoreRegressed.
        """
        await self._connected()

    async def close(self) -> None:
        """Close the connection; a later commit opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def commit(
        self,
        pending: Sequence[PendingBatch],
        hits: Callable[[Columns], Iterable[Hit]],
        rule_set_version: int | None,
    ) -> CommitResult:
        """Commit what the database accepts of ``pending``, and say what became of each batch.

        ``hits`` is called for the records that are stored, with their times as stored. Raises
        STORE_DOWN or STORE_FULL (the outcome may be unknown: submit the same batches again),
        RuleSetChanged (reload, submit again), StoreRegressed.
        """
        connection = await self._connected()
        try:
            result = await self._transaction(connection, pending, hits, rule_set_version)
        except psycopg.Error as error:
            await self._give_up(connection)
            raise self._fault(error) from error
        except BaseException:
            await self._give_up(connection)
            raise
        self.last = result.position or self.last
        return result

    # -------------------------------------------------------------- the transaction

    async def _transaction(
        self,
        connection: AsyncConnection,
        pending: Sequence[PendingBatch],
        hits: Callable[[Columns], Iterable[Hit]],
        rule_set_version: int | None,
    ) -> CommitResult:
        found, later = chains(pending)
        begun, answers = await claim_sql.begin(connection, found)
        if begun.rule_set_version != rule_set_version:
            raise RuleSetChanged(begun.rule_set_version)
        commit = _Commit(begun.commit_id, begun.now_us, CommitResult(deferred=later))
        rest = _judge_all(commit, found, answers)
        if rest:
            _judge_all(commit, rest, await claim_sql.claim(connection, rest))
        failpoint("claim/insert")
        for batch in (*commit.told_again, *batches_of(commit.claimed)):
            commit.losses.extend(rows.losses_of(batch))
        if not commit.claimed and not commit.losses:
            await connection.execute("rollback")
            commit.result.position = await feed.newest(connection)
            return commit.result
        await _store_records(connection, commit)
        found_hits = [hit for _, columns in commit.stored for hit in hits(columns)]
        merged = merge_hits(found_hits)
        await _store_consequences(connection, commit, merged)
        commit.result.records = sum(columns.n for _, columns in commit.stored)
        commit.result.position = await feed.commit(
            connection,
            "ingest",
            commit_id=commit.commit_id,
            detail={
                "records": commit.result.records,
                "gaps": len(commit.losses),
                "hits": len(merged),
            },
        )
        return commit.result

    # -------------------------------------------------------------- the connection

    async def _connected(self) -> AsyncConnection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        try:
            connection = await connect(
                self._url, application_name=self._application_name, role=INGEST_ROLE
            )
        except Fault as fault:
            if fault.reason is Reason.STORE_FULL:
                raise
            # While running, a wrong password or a missing database is an outage like any other.
            raise Fault(Reason.STORE_DOWN, detail=fault.text) from fault
        try:
            binary.register(connection)
            await self._verify(connection)
        except psycopg.Error as error:
            await connection.close()
            raise self._fault(error) from error
        except BaseException:
            await connection.close()
            raise
        self._connection = connection
        return connection

    async def _verify(self, connection: AsyncConnection) -> None:
        """Ask a new connection for the last position; forget it when the database has."""
        last = self.last
        if last is not None and not await feed.knows(connection, last):
            self.last = None
            raise StoreRegressed(last)

    async def _give_up(self, connection: AsyncConnection) -> None:
        """Leave a transaction whose outcome is unknown or unwanted: a new connection is cheap."""
        if self._connection is connection:
            self._connection = None
        await asyncio.shield(connection.close())

    def _fault(self, error: psycopg.Error) -> Fault:
        if isinstance(error, psycopg.errors.CheckViolation):
            self._missing_partition()
        fault = fault_of(error, self._url)
        if fault.reason is Reason.STORE_FULL:
            return fault
        return Fault(Reason.STORE_DOWN, detail=fault.text, sqlstate=error.sqlstate or "")


# ------------------------------------------------------------------ steps


def _judge_all(commit: _Commit, found: Sequence[Chain], answers: Sequence[Answer]) -> list[Chain]:
    again: list[Chain] = []
    for chain, answer in zip(found, answers, strict=True):
        rest, told_again = judge(chain, answer, commit.result)
        commit.told_again.extend(told_again)
        if rest is not None:
            again.append(rest)
        elif answer.claimed:
            commit.claimed.append(chain)
    return again


async def _store_records(connection: AsyncConnection, commit: _Commit) -> None:
    holders = [
        (batch, batch.columns)
        for batch in batches_of(commit.claimed)
        if batch.columns is not None and batch.columns.n
    ]
    if not holders:
        return
    try:
        async with pipeline(connection):
            await connection.execute("savepoint records", prepare=True)
            for (team, service, replayed), members in _admit(commit, holders).items():
                # Packing the next block overlaps with the server's storing of this one.
                for block in blocks.pack_blocks(team, service, members, replayed=replayed):
                    await rows.insert_block(connection, commit.commit_id, block)
    except (ColumnError, *quarantine.DATA_ERRORS):
        if connection.closed:
            raise
        await connection.execute("rollback to savepoint records")
        kept = await quarantine.store_each(connection, commit.commit_id, commit.now_us, holders)
        commit.stored, commit.result.quarantined = kept.stored, kept.records
        commit.losses.extend(kept.losses)


def _admit(
    commit: _Commit, holders: Sequence[tuple[PendingBatch, Columns]]
) -> dict[tuple[int, str, bool], list[Columns]]:
    """Group records by what is constant in a block."""
    groups: dict[tuple[int, str, bool], list[Columns]] = {}
    for batch, columns in holders:
        admitted = blocks.admit_times(columns, commit.now_us)
        commit.stored.append((batch, admitted))
        groups.setdefault((batch.team, columns.service, batch.replayed), []).append(admitted)
    return groups


async def _store_consequences(
    connection: AsyncConnection, commit: _Commit, hits: Sequence[Hit]
) -> None:
    ended = [chain.stream for chain in commit.claimed if chain.last.final]
    audited = list(entries(commit.stored))
    if not (ended or hits or commit.losses or audited):
        return
    async with pipeline(connection):
        if commit.losses:
            await rows.insert_losses(connection, commit.commit_id, commit.losses)
        if hits:
            await rows.insert_hits(connection, commit.commit_id, hits)
        if ended:
            await rows.close_streams(connection, ended)
        if audited:
            await log.add_entries(connection, commit.commit_id, audited)
