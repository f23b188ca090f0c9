"""Credit: one budget of bytes over all agents, so that what a collector holds has a limit.

An agent's *window* is how many bytes of batches it may have unacknowledged. Windows of all agents
together never exceed the budget. Overload is answered by smaller windows, never by loss: an agent's
disk is the queue.

* A new agent gets the start window while the budget has room, else zero: it waits its turn.
* An agent that filled its window gets twice as much, up to the greatest, while commits are fast.
* Slow commits halve every window down to the start window.
* While agents wait, each turn takes the windows of agents that did not use them, else those held
  longest, and hands them on: rotation. An agent with a window of zero still sends watermarks, which
  have no records and need no credit.
* While the store is nearly full every window is zero (:meth:`CreditBudget.hold`). Agents are told
  beside it how much of streams with an audit record or an error they may send; it is read one
  message at a time, as with any window of zero.

A window that shrinks binds the agent only when it hears of it. Until the bytes sent under the wider
one are settled they stay reserved, so the sum holds at any moment; and a collector reads from a
stream only while :meth:`CreditBudget.may_read` says so, so it also holds against an agent that
ignores its window: gRPC's own flow control stops it.

Pure: no clock, no I/O; the caller says when a turn is over and how long a commit took.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

KIB = 1024
MIB = 1024 * 1024

FAST_COMMIT_MS = 100.0
"""Commits at most this long let windows grow."""
SLOW_COMMIT_MS = 500.0
"""Commits longer than this halve windows."""


@dataclass(slots=True)
class _Account:
    window: int = 0
    # Wire bytes of batches received and not settled: what the agent's window counts.
    in_flight: int = 0
    # Bytes those batches take in memory, decompressed.
    memory: int = 0
    # Received since the last turn.
    used: int = 0
    # Received since the last grant, so that only a window that was filled grows.
    since_grant: int = 0

    @property
    def reserved(self) -> int:
        return max(self.window, self.in_flight)


class CreditBudget:
    """Windows of all agents of one collector; keys are session numbers."""

    def __init__(
        self,
        budget_bytes: int = 256 * MIB,
        *,
        start_bytes: int = 256 * KIB,
        greatest_bytes: int = 4 * MIB,
    ) -> None:
        self._budget = budget_bytes
        self._start = min(start_bytes, budget_bytes)
        self._greatest = max(self._start, min(greatest_bytes, budget_bytes))
        # In the order in which windows were given: the first has held its own longest.
        self._accounts: OrderedDict[int, _Account] = OrderedDict()
        self._waiting: OrderedDict[int, None] = OrderedDict()
        self._reserved = 0
        self._memory = 0
        self._withdrawn = False
        self._held = False

    @property
    def granted_bytes(self) -> int:
        """Sum of what is reserved for agents; at most the budget."""
        return self._reserved

    @property
    def held_bytes(self) -> int:
        """Memory of all batches received and not settled."""
        return self._memory

    @property
    def waiting(self) -> int:
        """Agents with a window of zero that wait for their turn."""
        return len(self._waiting)

    def window(self, session: int) -> int:
        """Bytes of unacknowledged batches the session may have now."""
        account = self._accounts.get(session)
        return 0 if account is None else account.window

    def in_flight(self, session: int) -> int:
        """Wire bytes of the session's batches that are received and not settled."""
        account = self._accounts.get(session)
        return 0 if account is None else account.in_flight

    def join(self, session: int) -> int:
        """Open an account and return its first window."""
        self._accounts[session] = _Account()
        if not self._withdrawn and (self._held or not self._resize(session, self._start)):
            self._waiting[session] = None
        return self.window(session)

    def leave(self, session: int) -> None:
        """Close an account; what its batches hold stays counted until they are settled."""
        account = self._accounts.get(session)
        self._waiting.pop(session, None)
        if account is None:
            return
        self._set_window(account, 0)
        if account.in_flight == 0:
            del self._accounts[session]

    def may_read(self, session: int) -> bool:
        """Whether the collector may read the session's next message.

        With a window of zero one message at a time is read, for watermarks.
        """
        account = self._accounts.get(session)
        if account is None or self._memory >= self._budget:
            return False
        return account.in_flight < max(account.window, 1)

    def received(self, session: int, wire_bytes: int, memory_bytes: int) -> None:
        """Count a batch that was read."""
        account = self._accounts.setdefault(session, _Account())
        before = account.reserved
        account.in_flight += wire_bytes
        account.memory += memory_bytes
        account.used += wire_bytes
        account.since_grant += wire_bytes
        self._memory += memory_bytes
        self._reserved += account.reserved - before

    def settled(self, session: int, wire_bytes: int, memory_bytes: int) -> None:
        """Count a batch off: committed, or dropped by a rewind or an ended session."""
        account = self._accounts.get(session)
        if account is None:
            return
        before = account.reserved
        account.in_flight = max(0, account.in_flight - wire_bytes)
        account.memory = max(0, account.memory - memory_bytes)
        self._memory -= memory_bytes
        self._reserved += account.reserved - before
        without = account.window == 0 and account.in_flight == 0
        if without and not self._withdrawn and session not in self._waiting:
            # Its session has ended: every living one without a window waits for one.
            del self._accounts[session]

    def committed(self, duration_ms: float) -> list[int]:
        """Adapt windows to a commit that took ``duration_ms``; return whose window changed."""
        if duration_ms > SLOW_COMMIT_MS:
            return [s for s in list(self._accounts) if self._halve(s)]
        if duration_ms > FAST_COMMIT_MS or self._waiting or self._withdrawn:
            return []
        return [s for s in list(self._accounts) if self._double(s)]

    def turn(self) -> list[int]:
        """End a turn: hand windows on to agents that wait; return whose window changed."""
        changed: list[int] = []
        if self._waiting and not (self._withdrawn or self._held):
            changed = list(self._hand_on())
        for account in self._accounts.values():
            account.used = 0
        return changed

    def hold(self, *, on: bool) -> list[int]:
        """Take all windows until told otherwise; return whose window changed.

        Afterwards each waits for its turn, as a new agent does.
        """
        if on == self._held or self._withdrawn:
            return []
        self._held = on
        if not on:
            return self.turn()
        changed = [s for s, account in self._accounts.items() if account.window]
        for session in changed:
            self._set_window(self._accounts[session], 0)
            self._waiting[session] = None
        return changed

    def withdraw(self) -> list[int]:
        """Take all windows for good (the collector stops); return whose window changed."""
        self._withdrawn = True
        self._waiting.clear()
        changed = [s for s, account in self._accounts.items() if account.window]
        for session in changed:
            self._set_window(self._accounts[session], 0)
        return changed

    def _hand_on(self) -> Iterator[int]:
        # As many windows are taken as agents wait, idle agents' first; those that lose one wait
        # behind those that get one. A busy window's bytes come free as its batches are settled.
        idle = [s for s, a in self._accounts.items() if a.window and not a.used]
        busy = [s for s, a in self._accounts.items() if a.window and a.used]
        takers = list(self._waiting)
        for session in (idle + busy)[: len(takers)]:
            if self._budget - self._reserved >= self._start * len(takers):
                break
            self._set_window(self._accounts[session], 0)
            self._waiting[session] = None
            yield session
        for session in takers:
            if not self._resize(session, self._start):
                break
            del self._waiting[session]
            yield session

    def _halve(self, session: int) -> bool:
        account = self._accounts[session]
        smaller = max(self._start, account.window // 2)
        if account.window <= smaller:
            return False
        self._set_window(account, smaller)
        return True

    def _double(self, session: int) -> bool:
        account = self._accounts[session]
        filled = account.since_grant >= account.window
        if not account.window or account.window >= self._greatest or not filled:
            return False
        return self._resize(session, min(self._greatest, account.window * 2))

    def _resize(self, session: int, window: int) -> bool:
        account = self._accounts[session]
        more = max(window, account.in_flight) - account.reserved
        if more > self._budget - self._reserved:
            return False
        self._set_window(account, window)
        self._accounts.move_to_end(session)
        return True

    def _set_window(self, account: _Account, window: int) -> None:
        before = account.reserved
        account.window = window
        account.since_grant = 0
        self._reserved += account.reserved - before
