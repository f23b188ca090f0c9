"""Where the disk thread and the event loop meet: one bounded window, two queues, two wake-ups.

The disk thread gives streams and batches; the loop gives orders and releases bytes. Neither ever
waits for the other while holding the lock. The window is the only bound needed: the disk thread
looks at :meth:`Handover.room` before it reads a file, and what it has given counts until released.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from outrider_agent.delivery import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_agent.streams import Stream


class Adopt:
    """From the disk thread: a stream that the collector named is continued (or ended) here."""

    __slots__ = ("stream",)

    def __init__(self, stream: Stream) -> None:
        self.stream = stream


class Born:
    """From the disk thread: a stream that the collector may not know."""

    __slots__ = ("stream",)

    def __init__(self, stream: Stream) -> None:
        self.stream = stream


Item = Adopt | Born | Batch


class Handover:
    """The window between the threads; ``window_bytes`` bounds what is read and not acknowledged."""

    def __init__(self, window_bytes: int) -> None:
        self._window = window_bytes
        self._lock = threading.Condition()
        self._items: deque[Item] = deque()
        self._orders: deque[object] = deque()
        self._held = 0
        self._woken = False
        self._wake_loop: Callable[[], object] | None = None

    # ---------------------------------------------------------------- the disk thread's side

    def room(self) -> int:
        """Bytes that may still be read; negative when a little more was given than fits."""
        with self._lock:
            return self._window - self._held

    @property
    def used_bytes(self) -> int:
        """Bytes that were read and are not acknowledged."""
        with self._lock:
            return self._held

    def give(self, item: Item) -> None:
        """Hand something to the loop."""
        with self._lock:
            self._items.append(item)
            if isinstance(item, Batch):
                self._held += item.wire_bytes
            wake = self._wake_loop if not self._woken else None
            self._woken = True
        if wake is not None:
            wake()

    def orders(self, wait_s: float) -> list[object]:
        """Take what the loop has said, after waiting up to ``wait_s`` for something."""
        with self._lock:
            if not self._orders and wait_s > 0:
                self._lock.wait(wait_s)
            taken = list(self._orders)
            self._orders.clear()
            return taken

    # ---------------------------------------------------------------- the loop's side

    def bind(self, wake_loop: Callable[[], object]) -> None:
        """Set what wakes the loop; it is called from the disk thread."""
        with self._lock:
            self._wake_loop = wake_loop
            self._woken = False

    def take(self) -> list[Item]:
        """Take what the disk thread has given."""
        with self._lock:
            self._woken = False
            taken = list(self._items)
            self._items.clear()
            return taken

    def release(self, size_bytes: int) -> None:
        """Give room back; wakes the disk thread when it may have been waiting for it."""
        with self._lock:
            was_full = self._held * 2 > self._window
            self._held -= size_bytes
            if was_full:
                self._lock.notify()

    def tell(self, *orders: object) -> None:
        """Say something to the disk thread."""
        if not orders:
            return
        with self._lock:
            self._orders.extend(orders)
            self._lock.notify()
