"""Making batches, and when one is due."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from outrider.columns import Columns, unpack_int64
from outrider_agent.delivery import Batch
from outrider_agent.orders import SettingsChanged
from outrider_agent.streams import BACKLOG_FULL, Loss
from outrider_agent.tail import CHUNK_BYTES
from outrider_agent.vital import has_vital
from outrider_agent.wire.messages import BatchEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider.filter import Filter
    from outrider_agent.records import Draft, Packed
    from outrider_agent.shedding import Shed
    from outrider_agent.streams import Place, Stream
    from outrider_agent.tail import Tail

FAR = float("inf")

_MANY_RECORDS = 8192
_MOST_SHED_BYTES = 64 << 20
_SHED_S = 2.0
"""A batch of a stream that is sifted waits so long: it tells of many dropped records at once."""


class Pace:
    """When a batch leaves, as the collector wants it."""

    def __init__(self, settings: SettingsChanged | None = None) -> None:
        self._settings = settings or SettingsChanged()
        texts = self._settings.urgent_filters
        self._filters = _parsed(texts) if texts else []

    def due(self, tail: Tail) -> float:
        """Return the moment at which what is pending must leave."""
        if not tail.has_pending:
            return FAR
        if tail.sifter.shed is not None:
            return tail.pending_since + _SHED_S
        settings = self._settings
        wait_s = (
            settings.urgent_flush_interval_s if tail.pending_urgent else settings.flush_interval_s
        )
        return tail.pending_since + wait_s

    def urgent(self, tail: Tail) -> bool:
        """Whether one of the records just read is urgent."""
        least = self._settings.urgent_severity
        if any(max(records.severity) >= least for records in tail.latest):
            return True
        if not self._filters:
            return False
        read = [columns_of(records.pack(), tail.stream) for records in tail.latest]
        return any(urgent.match(columns) for columns in read for urgent in self._filters)


def is_full(tail: Tail) -> bool:
    """Whether what is pending is enough for a batch."""
    shed_bytes = 0 if tail.sifter.shed is None else tail.sifter.shed.size_bytes
    return (
        tail.pending_bytes - shed_bytes >= CHUNK_BYTES // 2
        or len(tail.pending) >= _MANY_RECORDS
        or shed_bytes >= _MOST_SHED_BYTES
    )


def _parsed(texts: tuple[str, ...]) -> list[Filter]:
    from outrider.filter import FilterError, parse  # noqa: PLC0415  2 MB, and many have none

    filters: list[Filter] = []
    for text in texts:
        try:
            filters.append(parse(text))
        except FilterError:
            # A filter of a later version: its records are plain here, which costs only delay.
            continue
    return filters


def columns_of(packed: Packed, stream: Stream) -> Columns:
    """Return packed records as what filters work on."""
    n = packed.count
    return Columns(
        n=n,
        stream=stream.stream_id,
        service=stream.service,
        worker=stream.worker,
        host=stream.host,
        source=stream.source,
        ts_us=unpack_int64(packed.ts_us, n),
        observed_us=unpack_int64(packed.observed_us, n),
        stream_offset=unpack_int64(packed.stream_offset, n),
        severity=packed.severity,
        message_raw=packed.message,
        attributes_raw=packed.attributes,
        trace_id_raw=packed.trace_id,
        correlation_id_raw=packed.correlation_id,
        logger=packed.logger,
        event=packed.event,
        error_code=packed.error_code,
    )


def _given_up(stream: Stream, draft: Draft, shed: Shed) -> Loss:
    """Describe what was dropped; it is told with the very batch that passes over it."""
    return Loss(
        gap_id=secrets.token_bytes(16),
        stream_id=stream.stream_id,
        begin=draft.begin,
        end=draft.end,
        reason=BACKLOG_FULL,
        records=shed.records,
        at_least=False,
        detail=f"{shed.said()} dropped: more waited than may: {stream.path}",
        from_us=shed.from_us,
        to_us=shed.to_us,
        severity_max=max(shed.by_severity),
    )


class BatchMaker:
    """Makes batches in the database's time."""

    # Below this the difference is not told from the network's delay; times stay as written.
    CLOCK_NOISE_US = 100_000

    def __init__(self) -> None:
        self._encoder = BatchEncoder()
        self.clock_offset_us = 0

    def compress(self, wanted: bool) -> None:  # noqa: FBT001  a setting, passed by its name's verb
        """Compress from now on, or not."""
        self._encoder.compress = wanted

    def make(self, tail: Tail, looked_us: int) -> Batch:
        """Make a batch of what is pending; ``looked_us``: start of the last look for files."""
        urgent = tail.pending_urgent
        place = tail.place
        draft = tail.flush()
        tail.watermark_us = self.watermark_us(tail, looked_us)
        losses = tail.losses.tell(draft.end)
        if draft.shed is not None:
            losses = (*losses, _given_up(tail.stream, draft, draft.shed))
        message = self._encoder.encode(
            stream_id=tail.stream.stream_id,
            begin=draft.begin,
            end=draft.end,
            previous_digest=draft.previous_digest,
            digest=draft.digest,
            packed=draft.records.pack(self._offset_us()) if len(draft.records) else None,
            watermark_us=tail.watermark_us,
            replayed=draft.begin < tail.highest_acknowledged,
            losses=losses,
            framer_state=draft.framer_state,
        )
        return Batch(
            stream_id=tail.stream.stream_id,
            generation=tail.generation,
            begin=draft.begin,
            end=draft.end,
            message=message,
            wire_bytes=len(message),
            urgent=urgent,
            vital=has_vital(draft.records),
            place=place,
        )

    def watermark(self, tail: Tail, watermark_us: int) -> Batch:
        """Make a batch that says only up to when everything was sent. Nothing may be pending.

        Losses that wait for a batch with records are told with it: where it does not arrive they
        come again with that one, under the same names.
        """
        tail.watermark_us = watermark_us
        place = tail.place
        begin = place.committed
        message = self._encoder.encode(
            stream_id=tail.stream.stream_id,
            begin=begin,
            end=begin,
            previous_digest=place.digest,
            digest=place.digest,
            losses=tail.losses.tell_aside(),
            watermark_us=watermark_us,
            framer_state=place.framer_state,
        )
        return Batch(tail.stream.stream_id, tail.generation, begin, begin, message, 0)

    def final(
        self,
        stream: Stream,
        generation: int,
        place: Place,
        losses: Sequence[Loss] = (),
        watermark_us: int = 0,
    ) -> Batch:
        """Make the batch that ends a stream at ``place``."""
        end = place.end_of_stream
        message = self._encoder.encode(
            stream_id=stream.stream_id,
            begin=place.committed,
            end=end,
            previous_digest=place.digest,
            digest=b"",
            losses=losses,
            watermark_us=watermark_us,
            final=True,
        )
        return Batch(
            stream_id=stream.stream_id,
            generation=generation,
            begin=place.committed,
            end=end,
            message=message,
            wire_bytes=len(message),
            urgent=bool(losses),
            final=True,
            place=place,
        )

    def watermark_us(self, tail: Tail, looked_us: int) -> int:
        """Return up to when everything of a stream was read, in database time; 0: cannot tell."""
        if not tail.read_to_end_us or not looked_us:
            return 0
        return max(0, min(tail.read_to_end_us, looked_us) + self._offset_us())

    def latest_watermark_us(self, looked_us: int) -> int:
        """Return what :meth:`watermark_us` is at most, for any stream."""
        return looked_us + self._offset_us()

    def _offset_us(self) -> int:
        return self.clock_offset_us if abs(self.clock_offset_us) >= self.CLOCK_NOISE_US else 0
