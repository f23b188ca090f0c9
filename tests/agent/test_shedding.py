"""A source that has more waiting than it may: what goes is the least severe, and is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider_agent.records import Records
from outrider_agent.shedding import ALL, Shed, Sieve, Sifter, Waiting, sieves
from tests.agent.stepped import connected_host

if TYPE_CHECKING:
    from pathlib import Path

    from outrider_protos.v1 import log_pb2

WAITING = st.builds(
    lambda mtime, position, waits: Waiting(mtime, position, position + waits),
    st.integers(0, 5),
    st.integers(0, 1000),
    st.integers(0, 1000),
)


@given(st.lists(WAITING, max_size=8), st.integers(1, 4000))
def test_no_more_is_sifted_than_must_be_and_the_oldest_first(
    files: list[Waiting], limit: int
) -> None:
    """Within the limit nothing is; beyond it half of the limit is left, in the newest files."""
    offsets = sieves(files, limit)
    waits = [file.size - file.position for file in files]
    sifted = [max(0, offset - file.position) for file, offset in zip(files, offsets, strict=True)]

    if sum(waits) <= limit:
        assert not any(offsets)
        return
    assert sum(waits) - sum(sifted) == limit // 2
    for index, file in enumerate(files):
        if sifted[index]:
            older = [i for i, other in enumerate(files) if other.mtime_ns < file.mtime_ns]
            assert all(sifted[i] == waits[i] for i in older)


def records(*severities: int, event: str | None = None) -> Records:
    """Records of ten bytes each."""
    made = Records()
    for index, severity in enumerate(severities):
        made.stream_offset.append(index * 10)
        made.ts_us.append(1000 + index)
        made.observed_us.append(5000)
        made.severity.append(severity)
        made.message.append(b"x")
        made.attributes.append(None)
        made.logger.append(None)
        made.event.append(event)
        made.error_code.append(None)
        made.trace_id.append(None)
        made.correlation_id.append(None)
    return made


@given(st.lists(st.integers(1, 24), min_size=1, max_size=30), st.integers(0, 310))
def test_every_record_is_kept_or_counted(severities: list[int], to: int) -> None:
    """Dropped are those below the severity that begin before the place, and no other."""
    sifter = Sifter()
    sifter.sieve = Sieve(to, 13)
    kept = sifter.sift(records(*severities), len(severities) * 10)
    shed = sifter.flush(100) or Shed()
    gone = [s for i, s in enumerate(severities) if i * 10 < to and s < 13]

    assert sorted(shed.by_severity.elements()) == sorted(gone)
    assert len(kept) + shed.records == len(severities)
    assert list(kept.severity) == [
        s for i, s in enumerate(severities) if not (i * 10 < to and s < 13)
    ]
    assert sifter.flush(100) is None


def test_what_names_an_event_is_kept_unless_all_goes() -> None:
    """A job's end or an order is no chatter, whatever its severity."""
    sifter = Sifter()
    sifter.sieve = Sieve(1000, 13)
    kept = sifter.sift(records(5, 9, event="order.filled"), 20)
    sifter.sieve = Sieve(1000, ALL)
    none = sifter.sift(records(5, 21, event="order.filled"), 20)

    assert (len(kept), len(none)) == (2, 0)
    shed = sifter.flush(100)
    assert shed is not None
    assert (shed.said(), shed.from_us, shed.to_us) == ("1 FATAL and 1 DEBUG", 1000, 1001)


def test_what_is_read_again_is_counted_once() -> None:
    """As often as a batch is made of it: what is stored of it counts."""
    sifter = Sifter()
    sifter.sieve = Sieve(1000, 13)
    sifter.sift(records(5, 9), 20)
    sifter.flush(20)
    sifter.sift(records(5), 30)
    sifter.go_back(0)
    counted = [sifter.dropped]
    sifter.sift(records(5, 9), 20)
    sifter.flush(20)
    sifter.sift(records(5), 30)
    sifter.flush(30)
    sifter.stored(29)
    counted.append(sifter.dropped)
    sifter.go_back(30)

    assert [*counted, sifter.dropped] == [0, 2, 3]
    assert sifter.gap_count == 2


def lines(first: int, last: int) -> str:
    """Numbered lines of one length, every tenth of which is a warning."""
    return "".join(
        f"2026-11-30T10:00:00Z {'WARN ' if n % 10 == 0 else 'DEBUG'} line {n:06}\n"
        for n in range(first, last)
    )


LINE_BYTES = len(lines(0, 1))

BOUNDED = """
format = "iso"
backlog_bytes = 400000
"""


@pytest.mark.parametrize("when_full", ["drop_by_severity", "drop_oldest", "block"])
@pytest.mark.parametrize("crash", [False, True])
def test_beyond_its_limit_a_source_gives_up_the_oldest(
    tmp_path: Path, when_full: str, crash: bool
) -> None:
    """Each line is a row or in an exact count; a crash on the way changes neither."""
    count = 60_000
    source = f'{BOUNDED}when_full = "{when_full}"'
    host = connected_host(tmp_path, "window_bytes = 1048576", source)
    host.site.write("a.log", lines(0, 10))
    host.settle()
    host.disconnect()
    host.site.write("a.log", lines(10, count))
    host.settle()
    if crash:
        host.crash()
        host.start()
        host.connect()
        for _ in range(3):
            host.step(0.3)
        host.crash()
        host.start()
    host.connect()
    host.settle()
    host.settle()
    assert host.agent is not None
    told = sum(one.tail.sifter.dropped for one in host.agent._files._by_stream.values())
    host.crash()
    database = host.collector.database
    gaps = [gap for _, gap in database.gaps.values()]
    stored = [int((row.message or "").split()[-1]) for row in database.rows]
    missing = sorted(set(range(count)) - set(stored))

    assert stored == sorted(set(stored))
    assert not any(gap.at_least or gap.reason != "backlog_full" for gap in gaps)
    assert sum(gap.records for gap in gaps) == len(missing)
    assert crash or told == len(missing)
    if when_full == "block":
        assert not missing
        return
    assert len(missing) > 20_000
    assert all(any(_covers(gap, number) for gap in gaps) for number in missing)
    # The newest are whole: what was left of the limit, and what was read before it was known.
    assert max(missing) < count - 4_000
    if when_full == "drop_by_severity":
        assert not [number for number in missing if number % 10 == 0]
        assert all("DEBUG dropped" in gap.detail and gap.severity_max == 5 for gap in gaps)


def _covers(gap: log_pb2.Gap, number: int) -> bool:
    return bool(gap.begin <= number * LINE_BYTES < gap.end)
