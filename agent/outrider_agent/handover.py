"""Where the disk thread and the event loop meet: one bounded window, two queues, two wake-ups.

The disk thread gives streams and batches; the loop gives orders and releases bytes. Neither ever
waits for the other while holding the lock. The window is the only bound needed: the disk thread
looks at :meth:`Handover.room` before it reads a file, and what it has given counts until released.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from outrider_agent.delivery import Acknowledged, Batch
from outrider_agent.orders import Committed

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
        self._lock = threading.Lock()
        # Held while there is nothing to hear. Waiting for it costs a fraction of what a condition
        # does, which makes a lock for each wait.
        self._bell = threading.Lock()
        self._bell.acquire()
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
        # What rings from here on is heard at the next call, if its order is not taken below.
        if self._orders or wait_s <= 0:
            self._bell.acquire(blocking=False)
        else:
            self._bell.acquire(timeout=min(wait_s, threading.TIMEOUT_MAX))
        with self._lock:
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
            self._ring()

    def tell(self, *orders: object) -> None:
        """Say something to the disk thread, and wake it unless that may wait for its next turn."""
        if not orders:
            return
        with self._lock:
            self._orders.extend(orders)
        if not all(map(_may_wait, orders)):
            self._ring()

    def _ring(self) -> None:
        """Wake the disk thread, or keep it from falling asleep."""
        with suppress(RuntimeError):  # it rings already
            self._bell.release()


def _may_wait(order: object) -> bool:
    """Whether nothing waits for an order but what is done once a second.

    So it is with acknowledgements, of which there is one for each batch.
    """
    return isinstance(order, Committed) or (isinstance(order, Acknowledged) and not order.final)
