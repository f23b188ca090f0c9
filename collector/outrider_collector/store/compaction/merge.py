"""Many fresh blocks in, few compacted ones out: the records regrouped, sorted, cut, summarised.

Records are grouped by team, service, whether replayed, class, day and hour. The hour is that of the
event time. The day is that of the event time brought within 7 days before arrival, so that a day's
table is complete 8 days after it; a day is never before that of the event time, which searches rely
on. Within a group records are sorted by time and cut into pieces of equal size.

Columns are those of :mod:`.raw`. Pure: no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from outrider_collector.store import blocks
from outrider_collector.store.compaction import checksums
from outrider_collector.store.compaction.classes import RecordClass, classes_of
from outrider_collector.store.compaction.plan import FULL_RECORDS
from outrider_collector.store.compaction.raw import int2_array, int8_array
from outrider_collector.store.record_columns import NUMBERS, TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from outrider_collector.store.compaction.raw import Integers

    Texts = dict[str, list[bytes | None] | None]

LATE_US: Final = 7 * 86_400_000_000
"""An event time further before its arrival than this counts as of this long before, for its day."""
DAY_US: Final = 86_400_000_000
_HOUR_US: Final = 3_600_000_000
_MINUTE_US: Final = 60_000_000
_LEVELS: Final = np.frombuffer(blocks.LEVELS, np.uint8)
_LEVEL_COUNT: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshBlock:
    """A row that was taken out of ``blocks_fresh``."""

    team: int
    service: str
    replayed: bool
    received_at: int
    numbers: dict[str, Integers]
    texts: Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactedBlock:
    """A row for ``blocks_compacted``: arrays are binary, None is NULL."""

    day_us: int
    record_class: RecordClass
    team: int
    service: str
    replayed: bool
    n: int
    ts_min_us: int
    ts_max_us: int
    received_min_us: int
    received_max_us: int
    level_counts: bytes
    minute_counts: bytes
    stream_ids: bytes
    events: bytes | None
    error_codes: bytes | None
    bloom: bytes
    received_at: bytes
    columns: dict[str, bytes | None]
    """Those of RECORD_COLUMNS."""


@dataclass(slots=True)
class Records:
    """Records of one source, in the order of their commits."""

    received: Integers
    numbers: dict[str, Integers]
    texts: Texts


@dataclass(frozen=True, slots=True)
class Piece:
    """Records that will be a compacted block."""

    records: Records
    """Of the source; of them only those at ``places``."""
    places: Integers
    day_us: int
    record_class: RecordClass
    team: int
    service: str
    replayed: bool

    def packed(self) -> CompactedBlock:
        """Return the block."""
        return packed(
            picked(self.records, self.places),
            day_us=self.day_us,
            record_class=self.record_class,
            team=self.team,
            service=self.service,
            replayed=self.replayed,
        )


def merge(fresh: Iterable[FreshBlock]) -> Iterator[Piece]:
    """Yield the pieces that hold exactly the records of the fresh blocks.

    A piece is packed apart, which is most of the work: so the server can store one meanwhile.
    """
    sources: dict[tuple[int, str, bool], list[FreshBlock]] = {}
    for block in sorted(fresh, key=lambda block: block.received_at):
        sources.setdefault((block.team, block.service, block.replayed), []).append(block)
    for source, members in sources.items():
        records = joined(members)
        sizes = _sizes(records)
        for record_class, day, places in _groups(records):
            for piece in _cut(places, sizes):
                yield Piece(records, piece, day * DAY_US, record_class, *source)


def joined(members: Sequence[FreshBlock]) -> Records:
    """Return the records of fresh blocks of one source, in order."""

    def column(name: str) -> list[bytes | None] | None:
        if all(member.texts[name] is None for member in members):
            return None
        whole: list[bytes | None] = []
        for member in members:
            whole += member.texts[name] or [None] * member.numbers["ts"].size
        return whole

    counts = [member.numbers["ts"].size for member in members]
    received = np.array([member.received_at for member in members], dtype=np.int64)
    return Records(
        np.repeat(received, counts),
        {name: np.concatenate([m.numbers[name] for m in members]) for name in NUMBERS},
        {name: column(name) for name in TEXTS},
    )


def _groups(records: Records) -> Iterator[tuple[RecordClass, int, Integers]]:
    """Yield the places of the records of each (class, day, hour), sorted by time."""
    times = records.numbers["ts"]
    severities = records.numbers["severity"].astype(np.uint8).tobytes()
    by_record = classes_of(records.texts["event"], severities, records.texts["attributes"])
    classes = np.frombuffer(bytes(by_record), np.uint8)
    days = np.maximum(times, records.received - LATE_US) // DAY_US
    hours = times // _HOUR_US
    # The last key is the first to sort by.
    order = np.lexsort((times, hours, days, classes))
    keys = np.stack((classes, days, hours))[:, order]
    edges = np.flatnonzero((keys[:, 1:] != keys[:, :-1]).any(axis=0)) + 1
    for places in np.split(order, edges):
        first = places[0]
        yield RecordClass(classes[first]), int(days[first]), places


def _sizes(records: Records) -> Integers | None:
    """Return the bytes of the large texts of each record; None where all fit into one block."""
    large = [texts for name in ("message", "attributes") if (texts := records.texts[name])]
    if sum(sum(map(len, filter(None, texts))) for texts in large) <= blocks.MAX_BYTES:
        return None
    sizes = np.zeros(records.received.size, dtype=np.int64)
    for texts in large:
        sizes += np.array([len(text or b"") for text in texts])
    return sizes


def _cut(places: Integers, sizes: Integers | None) -> list[Integers]:
    size = 0 if sizes is None else int(sizes[places].sum())
    pieces = max(-(-places.size // FULL_RECORDS), -(-size // blocks.MAX_BYTES))
    return np.array_split(places, min(pieces, places.size))


def picked(records: Records, places: Integers) -> Records:
    """Return the records at one place or more, in that order."""
    wanted = places.tolist()

    def pick(values: list[bytes | None] | None) -> list[bytes | None] | None:
        if values is None:
            return None
        picked = [values[wanted[0]]] if len(wanted) == 1 else list(itemgetter(*wanted)(values))
        return picked if any(value is not None for value in picked) else None

    return Records(
        records.received[places],
        {name: values[places] for name, values in records.numbers.items()},
        {name: pick(values) for name, values in records.texts.items()},
    )


def packed(records: Records, **same: Any) -> CompactedBlock:
    """Return the block of records that are sorted by time; ``same`` are its other values."""
    numbers, texts = records.numbers, records.texts
    times = numbers["ts"]
    levels = _LEVELS[numbers["severity"]]
    oids = dict.fromkeys(TEXTS, blocks.OID_TEXT) | {"trace_id": blocks.OID_UUID}
    columns: dict[str, bytes | None] = {
        "ts": int8_array(blocks.OID_TIMESTAMPTZ, times),
        "observed_at": int8_array(blocks.OID_TIMESTAMPTZ, numbers["observed_at"]),
        "stream": int8_array(blocks.OID_INT8, numbers["stream"]),
        "stream_offset": int8_array(blocks.OID_INT8, numbers["stream_offset"]),
        "severity": int2_array(numbers["severity"]),
    }
    for name, values in texts.items():
        columns[name] = None if values is None else blocks.array_of_values(oids[name], values)
    return CompactedBlock(
        n=times.size,
        ts_min_us=int(times[0]),
        ts_max_us=int(times[-1]),
        received_min_us=int(records.received.min()),
        received_max_us=int(records.received.max()),
        level_counts=blocks.level_counts(numbers["severity"].astype(np.uint8).tobytes()),
        minute_counts=_minute_counts(times, levels),
        stream_ids=int8_array(blocks.OID_INT8, np.unique(numbers["stream"])),
        events=_distinct(texts["event"]),
        error_codes=_distinct(texts["error_code"]),
        bloom=checksums.filter_of(checksums.of_columns(texts)),
        received_at=int8_array(blocks.OID_TIMESTAMPTZ, records.received),
        columns=columns,
        **same,
    )


def _distinct(column: list[bytes | None] | None) -> bytes | None:
    values = sorted({value for value in column or () if value is not None})
    return blocks.array_of_values(blocks.OID_TEXT, values) if values else None


def _minute_counts(times: Integers, levels: NDArray[np.uint8]) -> bytes:
    """Return six counts for each minute from the first to the last; the times are sorted."""
    minutes = times // _MINUTE_US
    minutes -= minutes[0]
    size = _LEVEL_COUNT * (int(minutes[-1]) + 1)
    return int2_array(np.bincount(_LEVEL_COUNT * minutes + levels, minlength=size))
