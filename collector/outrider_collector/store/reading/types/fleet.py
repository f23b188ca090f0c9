"""Workers, agents, collectors and the store: how everybody is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from outrider_collector.store.reading.types.alerts import Alert
    from outrider_collector.store.reading.types.logs import Completeness, Gap, LogRow


STATES: Final = ("dead", "silent", "unknown", "lagging", "degraded", "up", "retired")
"""Of a worker or an agent, worst first: the order of every list of them."""


class WorkerName(NamedTuple):
    """A worker's name in full."""

    service: str
    worker: str
    host: str

    @property
    def component(self) -> str:
        """The name under which health is kept."""
        return f"{self.service}/{self.worker}@{self.host}"


@dataclass(frozen=True, slots=True)
class Gauges:
    """The last heartbeat's numbers; None: it did not say."""

    pid: int | None = None
    rss_bytes: int | None = None
    rss_limit_bytes: int | None = None
    cpu_ms: int | None = None
    """CPU time since the process started."""
    open_files: int | None = None
    threads: int | None = None
    backlog_bytes: int | None = None
    backlog_age_ms: int | None = None
    progress_done: int | None = None
    progress_total: int | None = None
    progress_at: datetime | None = None
    progress_note: str | None = None
    progress_within_ms: int | None = None
    """So soon it said to report progress again."""
    clock_offset_ms: int | None = None
    end: str | None = None
    """clean, exit_code, signal, out_of_memory or died, as the heartbeat said it."""
    end_code: int | None = None
    ended_at: datetime | None = None
    started_at: datetime | None = None
    last_line_at: datetime | None = None
    dropped_records: int | None = None


@dataclass(frozen=True, slots=True)
class Activity:
    """Lines per minute, oldest first; None: nobody counted that minute."""

    lines: list[int | None]
    warns: list[int | None]
    errors: list[int | None]
    """ERROR and FATAL."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker as it is now."""

    service: str
    worker: str
    host: str
    agent: int | None
    state: str
    """up, degraded, lagging, silent, dead, retired or unknown."""
    since: datetime
    reason: str
    seen_at: datetime | None
    due_at: datetime | None
    gauges: Gauges

    @property
    def name(self) -> WorkerName:
        """Service, worker and host."""
        return WorkerName(self.service, self.worker, self.host)


@dataclass(frozen=True, slots=True)
class StateChange:
    """One line of a component's history."""

    at: datetime
    from_state: str | None
    to_state: str
    reason: str


@dataclass(frozen=True, slots=True)
class StreamState:
    """One file of a worker: how far it is committed."""

    stream: int
    source: str
    path: str
    start_offset: int
    committed: int | None
    watermark: datetime | None
    born_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorkerDetail:
    """Everything about one worker."""

    worker: Worker
    agent: Agent | None
    history: list[StateChange]
    """Newest first."""
    last_words: list[LogRow]
    """Its newest lines, oldest first; for a dead worker those before its death."""
    streams: list[StreamState]
    """Newest first."""
    gaps: list[Gap]
    alerts: list[Alert]
    """Open alerts whose labels name it."""
    others: list[Worker]
    """Other workers of its service."""


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as it is now."""

    id: int
    host: str
    state: str
    since: datetime | None
    reason: str
    seen_at: datetime | None
    due_at: datetime | None
    connected_at: datetime | None
    revoked_at: datetime | None
    software_version: str | None
    collector: str | None
    open_streams: int
    gauges: Gauges


CauseKind = Literal[
    "collector_silent", "not_committing", "not_evaluating", "dead", "down", "agent_silent",
    "silent", "expired", "degraded", "lagging", "alert", "gap",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that is wrong now and what it explains."""

    kind: CauseKind
    subject: str
    """Collector, worker, host, exchange, probe, rule or gap, as a person calls it."""
    since: datetime
    reason: str
    worker: WorkerName | None = None
    agent: int | None = None
    alert: int | None = None
    gap: Gap | None = None
    """The newest of the gaps, with what all of them lost."""
    gap_count: int = 0
    bytes_behind: int | None = None
    explains: tuple[WorkerName, ...] = ()
    """Workers in trouble because of this."""
    components: tuple[str, ...] = ()
    """Of something that is looked at: as ``system_health`` names it for each host that looks."""


@dataclass(frozen=True, slots=True)
class Overview:
    """What is wrong now, as of one snapshot."""

    now: datetime
    """The database's clock."""
    causes: list[Cause]
    """Worst first."""
    workers: list[Worker]
    alerts: list[Alert]
    """Open ones, worst first."""
    completeness: Completeness
    states: dict[str, int]
    """Workers by state."""

    @property
    def quiet(self) -> int:
        """Workers of which nobody can tell whether they run, and nothing that is wrong explains it.

        A file that nobody writes to any more is one: it is finished, or its worker has little to
        say.
        """
        explained = {name for cause in self.causes for name in cause.explains}
        return sum(one.state == "unknown" and one.name not in explained for one in self.workers)

    @property
    def affected(self) -> int:
        """Workers that are neither up nor retired nor quiet."""
        ill = sum(n for state, n in self.states.items() if state not in {"up", "retired"})
        return ill - self.quiet


@dataclass(frozen=True, slots=True)
class Collector:
    """What a collector last said about itself."""

    name: str
    started_at: datetime
    seen_at: datetime
    stopped_at: datetime | None
    alive: bool
    """Said something within the last 30 s and did not stop."""
    status: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """The database as the store uses it."""

    now: datetime
    version: str
    database_bytes: int
    blocks_bytes: int
    """Blocks of both levels with indexes and TOAST."""
    partitions: int
    oldest_partition_from: datetime | None
    newest_partition_to: datetime | None
    """Of the fresh level: ingest stops when no partition of it takes the current hour."""
    lines_last_minute: int
    blocks_last_minute: int
    commit_delay_ms_p50: float | None
    """From the moment an agent saw a line to its commit, over the newest blocks."""
    gaps_today: int
    lines_lost_today: int
    feed_number: int
