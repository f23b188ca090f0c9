"""What the agent says about itself: lines on standard error and records in its own segment.

Its own segment is followed like any other, so whatever it says must not follow from reading: each
thing is said once, then at most once a minute with a count, and nothing is said for each line or
batch. A disk without room costs a report, never the agent.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from outrider import severity as severities
from outrider.standard_streams import tell

if TYPE_CHECKING:
    from collections.abc import Callable

REPEAT_S = 60.0
_MAX_KEYS = 2000


class Sink(Protocol):
    """Where records of the agent itself go."""

    def __call__(self, event: str, severity: int, message: str, attributes: dict[str, Any]) -> None:
        """Write one record."""


class Reports:
    """Says things, but not too often, from any thread.

    ``sink`` may be set later, when the inbox is there.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], object] = lambda text: tell(text, sys.stderr),
    ) -> None:
        self._clock = clock
        self._write = write
        self._said: dict[str, tuple[float, int, str]] = {}
        self._lock = threading.Lock()
        """For `_said`: the disk thread and the loop both say things. Never held while writing."""
        self.sink: Sink | None = None

    def say(
        self,
        key: str,
        message: str,
        *,
        event: str = "",
        severity: int = severities.INFO,
        **attributes: Any,
    ) -> bool:
        """Say ``message`` unless the same ``key`` was said less than a minute ago; True if said."""
        held_back = self._note(key, message)
        if held_back is None:
            return False
        if held_back:
            message = f"{message} (and {held_back} times before this)"
        self._write(f"outrider agent: {message}\n")
        if event and self.sink is not None:
            self.sink(event, severity, message, attributes)
        return True

    def _note(self, key: str, message: str) -> int | None:
        """Return how often it was held back before, or None when it is held back now."""
        now = self._clock()
        with self._lock:
            said, held_back, _ = self._said.get(key, (float("-inf"), 0, ""))
            if now - said < REPEAT_S:
                self._said[key] = (said, held_back + 1, message)
                return None
            if len(self._said) >= _MAX_KEYS:
                self._said.clear()
            self._said[key] = (now, 0, message)
            return held_back

    def recent(self) -> list[str]:
        """What was said in the last hour and is not settled, the latest last."""
        now = self._clock()
        with self._lock:
            known = list(self._said.values())
        fresh = [(said, message) for said, _, message in known if now - said < 3600]
        return [message for _, message in sorted(fresh)]

    def settle_prefix(self, prefix: str) -> bool:
        """:meth:`settle` for all keys that begin so."""
        with self._lock:
            keys = [key for key in self._said if key.startswith(prefix)]
        return sum(self.settle(key) for key in keys) > 0

    def settle(self, key: str) -> bool:
        """Forget that something was said, because it is over; True if it had been said."""
        with self._lock:
            return self._said.pop(key, None) is not None
