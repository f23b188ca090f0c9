"""A received Batch as the store wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_collector.store.claim import Gap, PendingBatch

if TYPE_CHECKING:
    from outrider.columns import Columns
    from outrider_collector.ingest.decode import Origin
    from outrider_collector.ingest.session import Session
    from outrider_protos.v1 import log_pb2


def pending_batch(
    session: Session, origin: Origin, batch: log_pb2.Batch, columns: Columns | None
) -> PendingBatch:
    """Return what waits for a commit; who sent it comes from the session, never from the batch."""
    return PendingBatch(
        agent=session.agent,
        session=session.number,
        team=session.team,
        stream=batch.stream_id,
        service=origin.service,
        worker=origin.worker,
        host=origin.host,
        begin=batch.begin,
        end=batch.end,
        previous_digest=batch.previous_digest,
        digest=batch.digest,
        columns=columns,
        gaps=tuple(map(_gap, batch.gaps)) if batch.gaps else (),
        watermark_us=batch.watermark_us,
        framer_state=batch.framer_state,
        replayed=batch.replayed,
        final=batch.final,
    )


def _gap(gap: log_pb2.Gap) -> Gap:
    return Gap(
        begin=gap.begin,
        end=gap.end,
        records=gap.records,
        at_least=gap.at_least,
        reason=_text(gap.reason),
        gap_id=gap.gap_id,
        detail=_text(gap.detail),
        from_us=gap.from_us,
        to_us=gap.to_us,
        severity_max=gap.severity_max,
    )


def _text(text: str) -> str:
    # Postgres holds no NUL, and a loss must be told whatever its words.
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
