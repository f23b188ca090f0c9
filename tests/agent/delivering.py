"""Streams and batches for tests of delivery."""

from __future__ import annotations

from outrider_agent.delivery import Batch
from outrider_agent.streams import Place, Stream


def stream(number: int, start: int = 0) -> Stream:
    """A stream like any other."""
    return Stream(
        stream_id=number,
        service="s",
        worker="w",
        source="file",
        path="/p",
        host="h",
        start_offset=start,
    )


def batch(
    number: int, begin: int, end: int, generation: int = 0, size: int = 10, **options: bool
) -> Batch:
    """A batch of a stream between two offsets."""
    place = Place(begin, b"d" if begin else b"")
    return Batch(number, generation, begin, end, (number, begin, end), size, place=place, **options)
