"""SQL of rule states: one row for each (rule, key), and a journal of those that are no rows yet.

What the states are as of the evaluator's place is a row of ``rule_states``, unless the journal has
the key: then it is as the newest entry there says. An entry is written in the transaction that
moves the place to its step, so the newest entry is of the evaluator's step. Where it is not, a
collector of a version that knows no journal has evaluated since then, from rows and into rows: the
journal is void.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from psycopg import AsyncConnection


_AT_ONCE: Final = 2_000


class StoredState(NamedTuple):
    """The state of one (rule, key), JSON."""

    rule: str
    key: list[str]
    state: str


class JournalEntry(NamedTuple):
    """States as of a step, or a part of them."""

    step: int
    states: bytes


async def read_states(connection: AsyncConnection) -> list[StoredState]:
    """Return the row of every (rule, key) that has one."""
    cursor = await connection.execute("select rule, key, state::text from rule_states", binary=True)
    found: list[StoredState] = []
    while rows := await cursor.fetchmany(_AT_ONCE):
        found += map(StoredState._make, rows)
        # They are here already, so fetching them waits for nothing; others share the loop.
        await asyncio.sleep(0)
    return found


async def write_states(
    connection: AsyncConnection, changed: Mapping[tuple[str, tuple[str, ...]], str | None]
) -> None:
    """Store the changed states of (rule, key), JSON; None deletes."""
    kept = [(rule, _json(key), state) for (rule, key), state in changed.items() if state]
    gone = [(rule, _json(key)) for (rule, key), state in changed.items() if state is None]
    # Keys travel as JSON: arrays of arrays of unequal length cannot be unnested. Arrays travel in
    # binary: as text each element is quoted by a regular expression, a fifth of a busy collector.
    if kept:
        await connection.execute(
            """
            insert into rule_states (rule, key, state)
            select rule, array(select jsonb_array_elements_text(key::jsonb)), state::jsonb
            from unnest(%b::text[], %b::text[], %b::text[]) as new (rule, key, state)
            on conflict (rule, key) do update set state = excluded.state
            """,
            [list(column) for column in zip(*kept, strict=True)],
            prepare=True,
        )
    if gone:
        await connection.execute(
            """
            delete from rule_states s
            using unnest(%b::text[], %b::text[]) as old (rule, key)
            where s.rule = old.rule
              and s.key = array(select jsonb_array_elements_text(old.key::jsonb))
            """,
            [list(column) for column in zip(*gone, strict=True)],
            prepare=True,
        )


async def read_journal(connection: AsyncConnection) -> list[JournalEntry]:
    """Return the entries in their order; what is void is deleted."""
    await connection.execute(
        """
        delete from rule_state_journal
        where (select max(step) from rule_state_journal) <> (select step from evaluator_state)
        """
    )
    cursor = await connection.execute(
        "select step, states from rule_state_journal order by step, part", binary=True
    )
    return [JournalEntry(*row) for row in await cursor.fetchall()]


async def write_journal(connection: AsyncConnection, step: int, parts: Iterable[bytes]) -> None:
    """Add the entries of a step."""
    for place, part in enumerate(parts):
        await connection.execute(
            "insert into rule_state_journal (step, part, states) values (%s, %s, %b)",
            (step, place, part),
            prepare=True,
        )


async def shorten_journal(connection: AsyncConnection, to_step: int) -> None:
    """Delete the entries up to a step: all that they have is in rows, or in later entries."""
    await connection.execute(
        "delete from rule_state_journal where step <= %s", (to_step,), prepare=True
    )


def _json(key: tuple[str, ...]) -> str:
    return json.dumps(key)
