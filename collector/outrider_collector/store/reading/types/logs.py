"""Log records, their pages and what is known about their completeness."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from outrider import severity as severities
from outrider.errors import Fault, Reason

if TYPE_CHECKING:
    from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """Where a page ended: the key of its last record. Records are ordered by this key."""

    ts: datetime
    stream: int
    stream_offset: int

    def encode(self) -> str:
        """The cursor as text without characters that a URL must escape."""
        us = (self.ts - _EPOCH) // timedelta(microseconds=1)
        return f"{us}.{self.stream}.{self.stream_offset}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """Read what ``encode`` wrote. Raises a FILTER_INVALID fault for anything else."""
        try:
            us, stream, offset = map(int, text.split("."))
            cursor = cls(_EPOCH + timedelta(microseconds=us), stream, offset)
        except (ValueError, OverflowError) as error:
            raise Fault(Reason.FILTER_INVALID, detail="this is no position of a page") from error
        if not (0 <= stream < 2**63 and 0 <= offset < 2**63):
            raise Fault(Reason.FILTER_INVALID, detail="this is no position of a page")
        return cursor


class LogRow(msgspec.Struct, frozen=True):
    """One record. (stream, stream_offset) is its name for ever.

    A struct, because an export makes millions: it costs a tenth of a frozen dataclass.
    """

    ts: datetime
    observed_at: datetime
    received_at: datetime
    severity: int
    """OpenTelemetry number, 1 to 24."""
    service: str
    worker: str
    host: str
    source: str
    logger: str | None
    event: str | None
    message: str | None
    error_code: str | None
    trace_id: UUID | None
    correlation_id: str | None
    attributes_json: str | None
    """A JSON object as text, exactly as it was stored."""
    stream: int
    stream_offset: int
    replayed: bool = False
    """True where the record can be one that was stored before."""

    @property
    def level(self) -> str:
        """TRACE, DEBUG, INFO, WARN, ERROR or FATAL."""
        return severities.name(self.severity)

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes, decoded; empty where there are none, as one text where it cannot be."""
        try:
            decoded = json.loads(self.attributes_json) if self.attributes_json else {}
        except (ValueError, RecursionError):
            # No JSON, or a number with more digits than Python reads: shown rather than hidden.
            return {"attributes": self.attributes_json}
        return decoded if isinstance(decoded, dict) else {"value": decoded}

    @property
    def cursor(self) -> Cursor:
        """The record's place in the order of search."""
        return Cursor(self.ts, self.stream, self.stream_offset)


@dataclass(frozen=True, slots=True)
class Page:
    """Newest records first. ``next`` continues it; None: there is nothing older in the range."""

    rows: list[LogRow]
    next: Cursor | None
    blocks_read: int
    """Blocks that were opened."""
    blocks_total: int
    """Blocks in the part of the range that the page covers, opened or passed over."""
    partial: bool = False
    """The search was stopped before the page was full: ``next`` goes on where it was."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a search of a whole range looks through."""

    lines: int
    """Records of the blocks that can hold matches; some may lie before or after the range."""
    blocks: int
    blocks_in_range: int
    """Blocks of the filter's services in the range, also those their summaries pass over."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """Records by level in [start, start + width). ``known`` is False where nobody counted."""

    start: datetime
    debug: int
    """TRACE and DEBUG."""
    info: int
    warn: int
    error: int
    """ERROR and FATAL."""
    known: bool = True

    @property
    def total(self) -> int:
        """All records of the bucket."""
        return self.debug + self.info + self.warn + self.error


@dataclass(frozen=True, slots=True)
class FacetValue:
    """One value of a field and how many records have it."""

    value: str
    n: int


@dataclass(frozen=True, slots=True)
class Facets:
    """Values with counts, most frequent first; severity worst first."""

    severity: list[FacetValue]
    service: list[FacetValue]
    worker: list[FacetValue]
    event: list[FacetValue]
    error_code: list[FacetValue]
    host: list[FacetValue]
    distinct: dict[str, int]
    """How many values each field has, shown or not."""
    lines: int
    """Records that were counted."""
    counted_since: datetime
    """Counts cover [counted_since, until); later than asked where the range was too large."""


@dataclass(frozen=True, slots=True)
class TailPage:
    """New records in feed order, oldest first, up to and with feed number ``last_number``."""

    rows: list[LogRow]
    last_number: int
    skipped: int
    """Matching records that were passed over because there were more than the limit."""
    unread: int = 0
    """Records in blocks that were not even opened, so far behind was the reader."""


@dataclass(frozen=True, slots=True)
class FeedRow:
    """One committed transaction that others must notice."""

    number: int
    kind: str
    """ingest, rules, alerts, health, silences or admin."""
    commit_id: int | None
    detail: dict[str, Any] | None
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that were lost, and why."""

    id: int
    service: str
    worker: str
    host: str
    stream: int | None
    records: int
    at_least: bool
    """The true number is ``records`` or more; with 0 records it is not known."""
    bytes: int
    reason: str
    detail: str
    from_at: datetime | None
    to_at: datetime | None
    detected_at: datetime


@dataclass(frozen=True, slots=True)
class LaggingWorker:
    """A worker whose lines are not all here yet."""

    service: str
    worker: str
    host: str
    backlog_bytes: int
    up_to: datetime | None
    """All it wrote up to here is committed; None: not known."""


@dataclass(frozen=True, slots=True)
class SilentAgent:
    """An agent that does not report: what its host wrote since is not known."""

    agent: int
    host: str
    since: datetime | None
    """When it was last heard; None: never."""


@dataclass(frozen=True, slots=True)
class Standstill:
    """Nothing is committed, or nothing evaluated: a collector says so, or none says anything."""

    kind: Literal["not_committing", "collector_silent", "not_evaluating"]
    collector: str
    since: datetime
    """Since when commits or evaluation fail, or when the last collector was heard."""
    reason: str
    """What is the matter and what to do."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A hot standby, and how far it has come."""

    as_of: datetime
    """When the last transaction that it has was committed."""
    behind_s: float
    """How long ago that was. Also grows while nothing is committed at all."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """Up to when a view holds every line, and what it does not hold."""

    complete_up_to: datetime | None
    """None: nothing in scope ever reported, so nothing is known."""
    lagging: list[LaggingWorker]
    silent: list[SilentAgent]
    gaps: list[Gap]
    """Newest first, at most as many as were asked for."""
    gaps_total: int
    streams: int
    """Open streams in scope."""
    standstill: Standstill | None = None
    """Why nothing newer can be here; None: commits go on."""
    replica: Replica | None = None
    """How far behind the replica is that answered; None: the primary did."""
    blind_login: str = ""
    """The login that reads, where it sees no team and so nothing at all."""

    @property
    def whole(self) -> bool:
        """True where the statement has no exception."""
        exceptions = self.lagging or self.silent or self.gaps_total or self.standstill
        return not (exceptions or self.blind_login)


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the completeness sentence. Everything but text is an exception with a link."""

    kind: Literal["text", "time", "worker", "agent", "gap", "standstill"]
    text: str
    reference: str = ""
    """worker: service/worker@host; agent: its id; gap: its id; time: ISO 8601."""
