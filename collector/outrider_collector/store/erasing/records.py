"""Records of a block as the filter language knows them. Pure."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from outrider.columns import Columns, DictionaryColumn, pack_dictionary, pack_text
from outrider.filter import And, Node, Not, Or, comparisons
from outrider_collector.store.compaction.merge import Records
from outrider_collector.store.record_columns import NUMBERS, TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from outrider.filter import Filter


class Source(NamedTuple):
    """What describes a stream."""

    worker: str
    host: str
    source: str


NAMELESS = Source("", "", "")


@dataclass(frozen=True, slots=True)
class Erased:
    """A record that is to go: its name, its time, and how much it said."""

    stream: int
    stream_offset: int
    ts_us: int
    text_bytes: int


def matching(
    wanted: Filter, records: Records, service: str, sources: Mapping[int, Source]
) -> list[int]:
    """Return the places of the records that match, rising."""
    found: list[int] = []
    for places, columns in _by_stream(records, service, sources):
        found += [places[i] for i in wanted.match(columns)]
    return sorted(found)


def erased(records: Records, places: Sequence[int]) -> list[Erased]:
    """Return what is to be told of the records at these places."""
    numbers, texts = records.numbers, records.texts
    large = [values for name in ("message", "attributes") if (values := texts[name]) is not None]
    return [
        Erased(
            int(numbers["stream"][place]),
            int(numbers["stream_offset"][place]),
            int(numbers["ts"][place]),
            sum(len(values[place] or b"") for values in large),
        )
        for place in places
    ]


def matches(
    wanted: Filter,
    texts: Mapping[str, bytes | None],
    *,
    service: str,
    source: Source,
    stream: int,
    severity: int = 0,
) -> bool:
    """Return whether one record that is in no block matches; ``texts`` by their columns."""
    numbers = dict.fromkeys(NUMBERS, 0) | {"stream": stream, "severity": severity}
    one = Records(
        np.zeros(1, dtype=np.int64),
        {name: np.array([value], dtype=np.int64) for name, value in numbers.items()},
        {name: None if texts.get(name) is None else [texts.get(name)] for name in TEXTS},
    )
    return bool(matching(wanted, one, service, {stream: source}))


def asks_only_texts(wanted: Filter) -> bool:
    """Return whether a copy of a record, without most of its fields, is enough to decide by."""
    return _positive(wanted.node) and all(
        field.name in {"service", "worker", "severity", "stream"}
        for field in comparisons(wanted.node)
    )


def _positive(node: Node) -> bool:
    if isinstance(node, And | Or):
        return all(map(_positive, node.terms))
    return not isinstance(node, Not)


def _by_stream(
    records: Records, service: str, sources: Mapping[int, Source]
) -> Iterator[tuple[list[int], Columns]]:
    """Yield the records of each stream, with their places."""
    by_stream: dict[int, list[int]] = {}
    for place, stream in enumerate(records.numbers["stream"].tolist()):
        by_stream.setdefault(stream, []).append(place)
    for stream, places in by_stream.items():
        yield places, _columns(records, places, stream, service, sources.get(stream, NAMELESS))


def _columns(
    records: Records, places: list[int], stream: int, service: str, source: Source
) -> Columns:
    def numbers(name: str) -> list[int]:
        values: list[int] = records.numbers[name][places].tolist()
        return values

    def texts(name: str) -> list[bytes | None]:
        values = records.texts[name]
        return [None] * len(places) if values is None else [values[place] for place in places]

    def words(name: str) -> DictionaryColumn:
        return pack_dictionary([None if v is None else v.decode() for v in texts(name)])

    return Columns(
        n=len(places),
        stream=stream,
        service=service,
        worker=source.worker,
        host=source.host,
        source=source.source,
        ts_us=array("q", numbers("ts")),
        observed_us=array("q", numbers("observed_at")),
        stream_offset=array("q", numbers("stream_offset")),
        severity=bytes(numbers("severity")),
        message_raw=pack_text(texts("message")),
        attributes_raw=pack_text(texts("attributes")),
        trace_id_raw=pack_text(texts("trace_id")),
        correlation_id_raw=pack_text(texts("correlation_id")),
        logger=words("logger"),
        event=words("event"),
        error_code=words("error_code"),
    )
