"""Rule states on their way from steps into the database.

States wait until a step is stored. Then they are stored with it: few as rows, more as one entry of
a journal, which costs a fifth and so holds up nobody who is to be told. What is in the journal
becomes rows in small parts (*folding*), between steps; each row as the key was stored last. Once
all of the keys of a round are rows, the entries up to its beginning go.

An alert's own states are always rows: a collector of a version that knows no journal may be the
next to evaluate. It loses at most what was counted of other keys since the last round.

The journal has a limit, for whoever takes over reads all of it before the first step. Keys beyond
it become rows with the step. Where an entry would not fit, because the same keys changed again and
again, the journal is written anew with each of them once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import zstandard

from outrider_alerting.state import decode_states, encode_states
from outrider_collector.store import rule_states

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from psycopg import AsyncConnection

    from outrider_alerting.state import Address, RuleState
    from outrider_collector.store.rule_states import JournalEntry

ROWS_MAX: Final = 100
"""So many states that changed beside those of alerts are stored as rows at once."""
PART_STATES: Final = 2_000
"""So many states are one value of the journal: no value is long in the making or the reading."""
JOURNAL_KEYS_MAX: Final = 20_000
"""So many keys may have a newer state in the journal than as a row."""
JOURNAL_STATES_MAX: Final = 40_000
"""The journal never has more, each entry counted as one more. Well above the keys, so that it is
seldom written anew."""
_LEVEL: Final = 1


class Keeping:
    """States that wait, and those that are in the journal only.

    Where a transaction fails in which one of the methods was called, this is of no use any more:
    whoever evaluates next reads what is stored.
    """

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        # Not stored at all.
        self._waiting: dict[Address, RuleState | None] = {}
        # As they were stored last, in the journal; their rows are older, or missing.
        self._unfolded: dict[Address, RuleState | None] = {}
        # The journal's entries in their order: step, and how many states it has.
        self._entries: dict[int, int] = {}
        # Of the round under way: the keys that are left, and the last entry before it began.
        self._round: list[Address] = []
        self._round_to: int | None = None

    @property
    def waiting(self) -> int:
        """How many states are not stored yet."""
        return len(self._waiting)

    @property
    def has_journal(self) -> bool:
        """Whether there is something to fold."""
        return bool(self._entries)

    @property
    def is_long(self) -> bool:
        """Whether to fold however much else there is to do: half as many keys as may be."""
        return len(self._unfolded) > JOURNAL_KEYS_MAX // 2

    @property
    def is_folding(self) -> bool:
        """Whether a round is under way."""
        return self._round_to is not None

    def change(self, changed: Mapping[Address, RuleState | None]) -> None:
        """Let what a step changed wait (None: the key is forgotten)."""
        self._waiting.update(changed)

    async def load(self) -> Mapping[Address, RuleState | None]:
        """Return the states that are newer than their rows, at the beginning of a tenure."""
        entries = await rule_states.read_journal(self._connection)
        # A thread: ingest and heartbeats share the loop.
        for step, states in await asyncio.to_thread(_decoded, entries):
            self._unfolded |= states
            self._entries[step] = self._entries.get(step, 0) + len(states)
        return self._unfolded

    async def store(self, step: int, told: Collection[Address]) -> None:
        """Store what waits, as of a step; ``told`` are the keys of which alerts moved with it."""
        changed, self._waiting = self._waiting, {}
        rows = {address: changed[address] for address in told if address in changed}
        if not self._entries and len(changed) - len(rows) <= ROWS_MAX:
            await self._write(changed)
            return
        self._unfolded |= changed
        for address in rows:
            self._unfolded.pop(address)
        beyond = max(0, len(self._unfolded) - JOURNAL_KEYS_MAX)
        rows |= {a: self._unfolded.pop(a) for a in list(self._unfolded)[:beyond]}
        await self._write(rows)
        self._entries[step] = len(changed)
        if sum(self._entries.values()) + len(self._entries) > JOURNAL_STATES_MAX:
            await rule_states.shorten_journal(self._connection, step)
            changed = self._unfolded
            self._entries = {step: len(changed)}
        # Those that are rows now are in it too: what older entries say of them does not hold.
        await rule_states.write_journal(self._connection, step, _parts(changed))

    async def fold(self, most: int) -> None:
        """Make rows of at most so many states; after the last of a round the journal is shorter.

        There has to be a journal.
        """
        if self._round_to is None:
            self._round, self._round_to = list(self._unfolded), max(self._entries)
        chosen, self._round = self._round[:most], self._round[most:]
        await self._write({a: self._unfolded.pop(a) for a in chosen if a in self._unfolded})
        if self._round:
            return
        folded_to = self._round_to if self._unfolded else max(self._entries)
        await rule_states.shorten_journal(self._connection, folded_to)
        self._entries = {step: n for step, n in self._entries.items() if step > folded_to}
        self._round_to = None

    async def _write(self, changed: Mapping[Address, RuleState | None]) -> None:
        encoded = {
            address: None if state is None else state.encode().decode()
            for address, state in changed.items()
        }
        await rule_states.write_states(self._connection, encoded)


def _decoded(
    entries: list[JournalEntry],
) -> list[tuple[int, dict[Address, RuleState | None]]]:
    decompressor = zstandard.ZstdDecompressor()
    return [(e.step, decode_states(decompressor.decompress(e.states))) for e in entries]


def _parts(changed: Mapping[Address, RuleState | None]) -> Iterator[bytes]:
    """Yield the values of one entry: at least one, also where nothing changed."""
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    pairs = list(changed.items())
    for at in range(0, max(1, len(pairs)), PART_STATES):
        yield compressor.compress(encode_states(dict(pairs[at : at + PART_STATES])))
