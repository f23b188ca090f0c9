"""Liveness: what state a component is in, decided from what is known and nothing else.

States of a component (an agent, or a worker that an agent reports):

* ``up``: its heartbeats come and say that it runs.
* ``degraded``: it runs, but its work does not advance (no progress for longer than it said, or a
  signal holds it), or it is near a limit that ends it (memory), or its disk refused records.
* ``lagging``: what it wrote waits, unread or unacknowledged, for longer than a minute.
* ``silent``: no heartbeat where one was due, by the database's clock. Every collector looks for the
  overdue, in one statement that lets only one of them declare it (:class:`Watch` says when).
* ``dead``: it ended, and not cleanly: exit code, signal, killed by the kernel for want of memory,
  or its lock was gone without a word. Or it is expected on its host and never started.
* ``retired``: it ended as it wished to, its agent does not know it any more, or somebody said that
  it ended for good. It stays so until it shows life, or dies anew.
* ``unknown``: nothing contradicts that it runs, and nothing shows it.

That a process is alive, that it does something (its last line) and that its work advances (its
last progress) are three facts. Progress is told by the slot beside a worker's file, whatever its
backlog, and its age by the agent's monotonic clock.

The agent's own heartbeat carries its workers, so a worker's state is decided from the heartbeat of
its agent. A collector that was away, cut off from the database or frozen saw nothing, which is not
the same as seeing that nothing came: :class:`Watch` keeps it from concluding silence until
everybody has had time to come back.

Pure: times are database time in microseconds since 2000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from outrider_collector.store.overdue import GONE_WORKER
from outrider_protos.v1 import ingest_pb2

LAGGING_MS = 60_000
MEMORY_SHARE = 0.9
"""Above this share of its memory limit a process is degraded."""
QUIET_MS = 10 * 60 * 1_000
"""A worker of which only a file is known is up for so long after its last line."""
GRACE_MS = 8_000
"""A heartbeat may be so much later than announced. Who beats every 10 s is silent within 20: every
2 s somebody looks.
"""
BACK_WITHIN_MS = 5_000
"""An agent that lives is back so soon after its stream broke ..."""
BACK_WITHIN_EACH_MS = 20
"""... and later, where many come back at once, by so much for each of them."""
MOST_NEXT_MS = 10 * 60 * 1_000
"""An agent may announce its next heartbeat for at most so far ahead."""


class Verdict(NamedTuple):
    """A state and, for people, why."""

    state: str
    reason: str = ""


UP = Verdict("up")


def due_us(seen_us: int, next_within_ms: int) -> int:
    """Return when the next heartbeat counts as late."""
    return seen_us + (min(next_within_ms, MOST_NEXT_MS) + GRACE_MS) * 1_000


def back_by_us(broke_us: int, broken: int) -> int:
    """Return when an agent whose stream broke counts as late, one of ``broken`` of late."""
    return broke_us + (BACK_WITHIN_MS + broken * BACK_WITHIN_EACH_MS) * 1_000


def agent_verdict(heartbeat: ingest_pb2.HeartbeatRequest) -> Verdict:
    """Decide an agent's state from its heartbeat."""
    if heartbeat.stopping:
        return Verdict("retired", "the agent stopped on purpose")
    if heartbeat.backlog_age_ms > LAGGING_MS:
        return Verdict("lagging", _backlog(heartbeat.backlog_bytes, heartbeat.backlog_age_ms))
    return _memory(heartbeat.usage) or UP


def worker_verdict(
    worker: ingest_pb2.WorkerHeartbeat,
    agent: ingest_pb2.HeartbeatRequest,
    *,
    losing: bool = False,
) -> Verdict:
    """Decide a worker's state from what its agent says of it.

    ``losing``: since the heartbeat before, records of it found no room.
    """
    ended = _ended(worker)
    if ended is not None:
        return ended
    if agent.stopping:
        return Verdict("unknown", "its agent stopped on purpose")
    if losing:
        return Verdict("degraded", f"{worker.dropped_records} records found no room on its disk")
    stalled = _stalled(worker)
    if stalled is not None:
        return stalled
    if worker.backlog_bytes and agent.backlog_age_ms > LAGGING_MS:
        return Verdict("lagging", _backlog(worker.backlog_bytes, agent.backlog_age_ms))
    degraded = _memory(worker.usage)
    if degraded is not None:
        return degraded
    if worker.end == ingest_pb2.WORKER_END_RUNNING:
        return UP
    if worker.last_line_us and worker.last_line_age_ms < QUIET_MS:
        return Verdict("up", "known by its log file alone")
    return Verdict("unknown", "no process is known, and its log file is quiet")


def gone_verdict(*, is_worker: bool) -> Verdict:
    """Decide the state of what its agent or collector used to report and does not any more."""
    return Verdict(*GONE_WORKER) if is_worker else Verdict("retired", "nobody looks at it any more")


@dataclass(slots=True)
class Watch:
    """Whether this collector has watched long enough to conclude that somebody is silent.

    ``saw`` is called at every successful look at the database, with a monotonic clock in seconds.
    A gap between looks means that this process was away (frozen, cut off, or not started): nothing
    is concluded until ``grace_s`` after the gap's end.
    """

    grace_s: float
    longest_gap_s: float = 15.0
    _last_s: float | None = None
    _since_s: float = 0.0

    def saw(self, now_s: float) -> None:
        """The database was read just now."""
        if self._last_s is None or now_s - self._last_s > self.longest_gap_s:
            self._since_s = now_s
        self._last_s = now_s

    def watched_s(self, now_s: float) -> float:
        """For how many seconds this collector has watched without a gap."""
        if self._last_s is None or now_s - self._last_s > self.longest_gap_s:
            return 0.0
        return now_s - self._since_s

    def may_conclude(self, now_s: float) -> bool:
        """Whether silence may be declared now."""
        return self.watched_s(now_s) >= self.grace_s


def _ended(worker: ingest_pb2.WorkerHeartbeat) -> Verdict | None:
    if worker.end == ingest_pb2.WORKER_END_CLEAN:
        return Verdict("retired", "ended cleanly")
    if worker.end == ingest_pb2.WORKER_END_EXIT_CODE:
        return Verdict("dead", f"exit code {worker.end_code}")
    if worker.end == ingest_pb2.WORKER_END_SIGNAL:
        return Verdict("dead", f"killed by {_signal_name(worker.end_code)}")
    if worker.end == ingest_pb2.WORKER_END_OUT_OF_MEMORY:
        return Verdict("dead", "killed by the kernel: out of memory")
    if worker.end == ingest_pb2.WORKER_END_DIED:
        return Verdict("dead", "ended without a word")
    if worker.end == ingest_pb2.WORKER_END_NEVER_STARTED:
        return Verdict("dead", "never started: expected on this host, and nothing of it is here")
    return None


def _stalled(worker: ingest_pb2.WorkerHeartbeat) -> Verdict | None:
    """Whether a process that runs does not get on with its work."""
    if worker.end != ingest_pb2.WORKER_END_RUNNING:
        return None
    if worker.usage.is_stopped:
        return Verdict("degraded", "alive, but a signal or a debugger holds it")
    is_done = 0 < worker.progress_total <= worker.progress_done
    if is_done or not 0 < worker.progress_within_ms < worker.progress_age_ms:
        return None
    return Verdict("degraded", f"alive, but no progress for {_span(worker.progress_within_ms)}")


def _span(ms: int) -> str:
    seconds = ms // 1_000
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"


def _signal_name(number: int) -> str:
    return _SIGNALS.get(number, f"signal {number}")


def _memory(usage: ingest_pb2.Usage) -> Verdict | None:
    if usage.rss_limit_bytes and usage.rss_bytes > usage.rss_limit_bytes * MEMORY_SHARE:
        share = usage.rss_bytes * 100 // usage.rss_limit_bytes
        return Verdict("degraded", f"uses {share} % of its memory limit")
    return None


def _backlog(size_bytes: int, age_ms: int) -> str:
    amount = f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes} bytes"
    return f"{amount} wait, the oldest for {age_ms // 1_000} s"


# Fixed numbers, not the signal module's: a worker's host may be another system than ours.
_SIGNALS = {
    1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
    9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 24: "SIGXCPU",
    25: "SIGXFSZ",
}  # fmt: skip
