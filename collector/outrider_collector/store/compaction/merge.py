"""Many fresh blocks in, few compacted ones out: the records regrouped, sorted, cut, summarised.

Records are grouped by team, service, whether replayed, class, day and hour. The hour is that of the
event time. The day is that of the event time brought within 7 days before arrival, so that a day's
table is complete 8 days after it; a day is never before that of the event time, which searches rely
on. Within a group records are sorted by time and cut into pieces of equal size.

Columns come as the driver gives them: lists, integers for times (microseconds since 2000), bytes
for texts and ids. Pure: no I/O, no clock.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from outrider_collector.store import blocks
from outrider_collector.store.compaction import bloom
from outrider_collector.store.compaction.classes import RecordClass, classes_of
from outrider_collector.store.compaction.plan import FULL_RECORDS
from outrider_collector.store.compaction.tokens import WHOLE_COLUMNS, tokens_of_texts, whole_token
from outrider_collector.store.record_columns import NUMBERS, TEXTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LATE_US: Final = 7 * 86_400_000_000
"""An event time further before its arrival than this counts as of this long before, for its day."""
DAY_US: Final = 86_400_000_000
_HOUR_US: Final = 3_600_000_000
_MINUTE_US: Final = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshBlock:
    """A row that was taken out of ``blocks_fresh``."""

    team: int
    service: str
    replayed: bool
    received_at: int
    numbers: dict[str, list[int]]
    texts: dict[str, list[bytes | None] | None]


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

    received: list[int]
    numbers: dict[str, list[int]]
    texts: dict[str, list[bytes | None] | None]


def merge(fresh: Iterable[FreshBlock]) -> Iterator[CompactedBlock]:
    """Yield the blocks that hold exactly the records of the fresh ones."""
    sources: dict[tuple[int, str, bool], list[FreshBlock]] = {}
    for block in sorted(fresh, key=lambda block: block.received_at):
        sources.setdefault((block.team, block.service, block.replayed), []).append(block)
    for (team, service, replayed), members in sources.items():
        records = joined(members)
        for (record_class, day, _), places in sorted(_groups(records).items()):
            for piece in _cut(records, places):
                yield packed(
                    picked(records, piece),
                    day_us=day * DAY_US,
                    record_class=record_class,
                    team=team,
                    service=service,
                    replayed=replayed,
                )


def joined(members: Sequence[FreshBlock]) -> Records:
    """Return the records of fresh blocks of one source, in order."""

    def column(name: str) -> list[bytes | None] | None:
        if all(member.texts[name] is None for member in members):
            return None
        whole: list[bytes | None] = []
        for member in members:
            whole += member.texts[name] or [None] * len(member.numbers["ts"])
        return whole

    received: list[int] = []
    for member in members:
        received += [member.received_at] * len(member.numbers["ts"])
    return Records(
        received,
        {name: [n for member in members for n in member.numbers[name]] for name in NUMBERS},
        {name: column(name) for name in TEXTS},
    )


def _groups(records: Records) -> dict[tuple[RecordClass, int, int], list[int]]:
    """Return the places of the records of each (class, day, hour), sorted by time."""
    times = records.numbers["ts"]
    classes = classes_of(
        records.texts["event"], bytes(records.numbers["severity"]), records.texts["attributes"]
    )
    # Arrivals rise: where even the last one makes none late, none is.
    late = min(times) < records.received[-1] - LATE_US
    groups: dict[tuple[RecordClass, int, int], list[int]] = {}
    for place in sorted(range(len(times)), key=times.__getitem__):
        ts = times[place]
        day = max(ts, records.received[place] - LATE_US) // DAY_US if late else ts // DAY_US
        key = (classes[place], day, ts // _HOUR_US)
        try:
            groups[key].append(place)
        except KeyError:
            groups[key] = [place]
    return groups


def _cut(records: Records, places: list[int]) -> Iterator[list[int]]:
    pieces = max(-(-len(places) // FULL_RECORDS), -(-_size(records, places) // blocks.MAX_BYTES))
    pieces = min(pieces, len(places))
    for i in range(pieces):
        yield places[i * len(places) // pieces : (i + 1) * len(places) // pieces]


def _size(records: Records, places: list[int]) -> int:
    """Return the size of the large texts at these places; 0 where all are small enough together."""
    large = [texts for name in ("message", "attributes") if (texts := records.texts[name])]
    if sum(sum(map(len, filter(None, texts))) for texts in large) <= blocks.MAX_BYTES:
        return 0
    return sum(len(texts[place] or b"") for texts in large for place in places)


def picked(records: Records, places: list[int]) -> Records:
    """Return the records at one place or more, in that order."""

    def pick(values: list[Any]) -> list[Any]:
        return [values[places[0]]] if len(places) == 1 else list(itemgetter(*places)(values))

    texts: dict[str, list[bytes | None] | None] = {}
    for name, values in records.texts.items():
        picked = None if values is None else pick(values)
        texts[name] = None if picked is None or not any(v is not None for v in picked) else picked
    return Records(
        pick(records.received),
        {name: pick(values) for name, values in records.numbers.items()},
        texts,
    )


def packed(records: Records, **same: Any) -> CompactedBlock:
    """Return the block of records that are sorted by time; ``same`` are its other values."""
    numbers, texts = records.numbers, records.texts
    times, severities = numbers["ts"], bytes(numbers["severity"])
    oids = dict.fromkeys(TEXTS, blocks.OID_TEXT) | {"trace_id": blocks.OID_UUID}
    columns: dict[str, bytes | None] = {
        "ts": _int64(blocks.OID_TIMESTAMPTZ, times),
        "observed_at": _int64(blocks.OID_TIMESTAMPTZ, numbers["observed_at"]),
        "stream": _int64(blocks.OID_INT8, numbers["stream"]),
        "stream_offset": _int64(blocks.OID_INT8, numbers["stream_offset"]),
        "severity": blocks.array_of_severities(severities),
    }
    for name, values in texts.items():
        columns[name] = None if values is None else blocks.array_of_values(oids[name], values)
    return CompactedBlock(
        n=len(times),
        ts_min_us=times[0],
        ts_max_us=times[-1],
        received_min_us=min(records.received),
        received_max_us=max(records.received),
        level_counts=blocks.level_counts(severities),
        minute_counts=_minute_counts(times, severities),
        stream_ids=_int64(blocks.OID_INT8, sorted(set(numbers["stream"]))),
        events=_distinct(texts["event"]),
        error_codes=_distinct(texts["error_code"]),
        bloom=bloom.build(tokens_of_columns(texts)),
        received_at=_int64(blocks.OID_TIMESTAMPTZ, records.received),
        columns=columns,
        **same,
    )


def tokens_of_columns(texts: dict[str, list[bytes | None] | None]) -> set[bytes]:
    """Return every token of some records."""
    plain: list[bytes] = []
    for name in ("message", "event", "error_code"):
        plain += _values(texts[name])
    found = tokens_of_texts(plain)
    found |= tokens_of_texts(_values(texts["attributes"]), json=True)
    for name in WHOLE_COLUMNS:
        for value in set(_values(texts[name])):
            text = value.hex() if name == "trace_id" else value.decode()
            found.add(whole_token(name, text))
    return found


def _values(column: list[bytes | None] | None) -> list[bytes]:
    return [] if column is None else [value for value in column if value is not None]


def _int64(oid: int, values: Sequence[int]) -> bytes:
    return blocks.array_of_int64(oid, (array("q", values),))


def _distinct(column: list[bytes | None] | None) -> bytes | None:
    values = sorted(set(_values(column)))
    return blocks.array_of_values(blocks.OID_TEXT, values) if values else None


def _minute_counts(times: Sequence[int], severities: bytes) -> bytes:
    """Return six counts for each minute from the first to the last; the times are sorted."""
    levels = severities.translate(blocks.LEVELS)
    minute, place = times[0] // _MINUTE_US, 0
    counts: list[bytes] = []
    while place < len(times):
        minute += 1
        end = bisect_left(times, minute * _MINUTE_US, lo=place)
        counts += [levels.count(level, place, end).to_bytes(2) for level in range(6)]
        place = end
    return blocks.array_of_values(blocks.OID_INT2, counts)
