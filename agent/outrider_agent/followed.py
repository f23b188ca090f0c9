"""A followed file: what it is as a stream, where it lies, how it ends, how far behind it is."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from outrider_agent.discovery import Found
    from outrider_agent.segments import SegmentWatch
    from outrider_agent.streams import Loss
    from outrider_agent.tail import Tail

_MAX_CHECKPOINTS = 256


@dataclass(slots=True, eq=False)
class Followed:
    """One followed file."""

    tail: Tail
    found: Found
    key: tuple[int, int]
    """Device and inode, which are its own for as long as it is open."""
    segment: SegmentWatch | None = None
    """Set for files of the inbox."""
    present: bool = True
    """Whether the last full look found it where a source looks."""
    behind: bool = False
    """Whether it had more to read at the last look."""
    ended: bool = False
    """Whether its final batch was handed over."""
    has_file: bool = True
    """False once its content is gone: the descriptor serves another stream."""
    kept: bool = False
    """Whether what is read is a copy in `keep/`, which grows no more."""
    remembered: bool = False
    """Whether the cache says that no source finds it any more: before that it does not end."""
    gone: bool = False
    """Whether it was closed, and is nowhere now."""
    loss: Loss | None = None
    """What its final batch tells, if anything."""
    interval_s: float = 0.010
    grows: bool = False
    """Whether it had grown when it was looked at last."""
    turn: int = -1
    """Names its next look; an older appointment is void."""
    next_growth_check: float = 0.0
    checkpoints: deque[tuple[int, float]] = field(default_factory=deque)
    """(size, monotonic seconds) of earlier looks, for the age of what is not acknowledged."""

    @property
    def path(self) -> str:
        """Where it was found last."""
        return self.found.path

    @property
    def stream_id(self) -> int:
        """Its stream."""
        return self.tail.stream.stream_id

    @property
    def has_no_name(self) -> bool:
        """Whether its file was deleted."""
        try:
            return self.tail.status().st_nlink == 0
        except OSError:
            return True

    @property
    def backlog_bytes(self) -> int:
        """Bytes that are in the file and not acknowledged."""
        return max(0, self.tail.size - self.tail.acknowledged) if self.has_file else 0

    def backlog_age_ms(self, now_s: float) -> int:
        """Age of the oldest byte not acknowledged, as far as looks once a second tell it."""
        while self.checkpoints and self.checkpoints[0][0] <= self.tail.acknowledged:
            self.checkpoints.popleft()
        if self.backlog_bytes == 0:
            self.checkpoints.clear()
            return 0
        last = self.checkpoints[-1][0] if self.checkpoints else -1
        if self.tail.size > last and len(self.checkpoints) < _MAX_CHECKPOINTS:
            self.checkpoints.append((self.tail.size, now_s))
        return int((now_s - self.checkpoints[0][1]) * 1_000) if self.checkpoints else 0
