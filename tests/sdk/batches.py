"""Batches of columns from records, for tests."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from outrider.columns import Columns, pack_dictionary, pack_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .filter_oracle import Record


def batch(records: Sequence[Record]) -> Columns:
    """Pack records of one stream."""
    n = len(records)
    first = records[0]
    return Columns(
        n=n,
        stream=first.stream,
        service=first.service,
        worker=first.worker,
        host=first.host,
        source=first.source,
        ts_us=array("q", range(n)),
        observed_us=array("q", range(n)),
        stream_offset=array("q", range(n)),
        severity=bytes(r.severity for r in records),
        message_raw=_texts([r.message for r in records]),
        attributes_raw=_texts([r.json() for r in records]),
        trace_id_raw=pack_text(
            [None if r.trace_id is None else bytes.fromhex(r.trace_id) for r in records]
        ),
        correlation_id_raw=_texts([r.correlation_id for r in records]),
        logger=pack_dictionary([r.logger for r in records]),
        event=pack_dictionary([r.event for r in records]),
        error_code=pack_dictionary([r.error_code for r in records]),
    )


def _texts(values: list[str | None]) -> bytes:
    return pack_text([None if v is None else v.encode() for v in values])
