"""The pure part of the way in: packing, admitting, cutting, chains, hits."""

from __future__ import annotations

import struct
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.columns import ColumnError, Columns, DictionaryColumn, pack_dictionary, pack_text
from outrider_collector.store import blocks, claim, rows
from outrider_collector.store.claim import Answer, CommitResult, PendingBatch
from tests.collector.store.making import make_columns, now_us

_TEXTS = st.lists(st.none() | st.binary(max_size=6), min_size=1, max_size=6)
_INTS = st.integers(-(2**63), 2**63 - 1)


def unpack(data: bytes | None, n: int) -> list[bytes | None]:
    """Read a binary array as Postgres does."""
    if data is None:
        return [None] * n
    dimensions, _, _, length, lower = struct.unpack_from(">iiIii", data)
    assert (dimensions, length, lower) == (1, n, 1)
    at, values = 20, []
    for _ in range(n):
        (size,) = struct.unpack_from(">i", data, at)
        values.append(None if size < 0 else data[at + 4 : at + 4 + size])
        at += 4 + max(size, 0)
    assert at == len(data)
    return values


@given(st.lists(_TEXTS, min_size=1, max_size=4), st.data())
def test_a_block_holds_its_batches_one_after_another(
    messages: list[list[bytes | None]], data: st.DataObject
) -> None:
    """Whatever columns batches have or lack, each record's values stand at its place."""
    batches: list[Columns] = []
    for stream, texts in enumerate(messages, start=1):
        n = len(texts)
        words = data.draw(st.lists(st.none() | st.sampled_from("abc"), min_size=n, max_size=n))
        times = data.draw(st.lists(_INTS, min_size=n, max_size=n))
        severities = data.draw(st.lists(st.integers(1, 24), min_size=n, max_size=n))
        batches.append(
            make_columns(
                texts,
                stream=stream,
                ts_us=array("q", times),
                severity=bytes(severities),
                event=pack_dictionary(words),
            )
        )
    (block,) = blocks.pack_blocks(1, "shop", batches)
    n = block.n
    everything = [text for texts in messages for text in texts]
    assert n == len(everything)
    assert unpack(block.columns["message"], n) == everything
    times = [t for batch in batches for t in batch.ts_us]
    assert unpack(block.columns["ts"], n) == [t.to_bytes(8, signed=True) for t in times]
    assert (block.ts_min_us, block.ts_max_us) == (min(times), max(times))
    assert unpack(block.columns["stream"], n) == [
        b.stream.to_bytes(8) for b in batches for _ in range(b.n)
    ]
    severity = b"".join(batch.severity for batch in batches)
    assert unpack(block.columns["severity"], n) == [value.to_bytes(2) for value in severity]
    counts = [int.from_bytes(value or b"") for value in unpack(block.level_counts, 6)]
    assert counts == [sum((s - 1) // 4 == level for s in severity) for level in range(6)]
    events = [word for batch in batches for word in batch.event.texts(batch.n)]
    assert unpack(block.columns["event"], n) == [None if e is None else e.encode() for e in events]
    assert unpack(block.columns["attributes"], n) == [None] * n
    assert block.columns["attributes"] is None


def test_a_wide_dictionary_uses_two_bytes_an_index() -> None:
    """More than 255 values are looked up as well."""
    words = [f"job.{n % 400}" for n in range(1000)]
    columns = make_columns([b"x"] * 1000, event=pack_dictionary(words))
    (block,) = blocks.pack_blocks(1, "shop", [columns])

    assert unpack(block.columns["event"], 1000) == [word.encode() for word in words]


def test_blocks_are_cut_between_batches() -> None:
    """A block has at most 16,384 records and about 8 MiB, and never half a batch."""
    many = [make_columns([b"x"] * 5000, stream=n) for n in range(1, 8)]
    assert [block.n for block in blocks.pack_blocks(1, "shop", many)] == [15_000, 15_000, 5_000]
    large = [make_columns([b"x" * 3_000_000], stream=n) for n in range(1, 6)]
    assert [block.n for block in blocks.pack_blocks(1, "shop", large)] == [2, 2, 1]


def test_a_dictionary_index_without_a_value_is_refused() -> None:
    """It never becomes another record's value."""
    columns = make_columns([b"x", b"y"], logger=DictionaryColumn(("a",), b"\x01\x02"))
    with pytest.raises(ColumnError):
        list(blocks.pack_blocks(1, "shop", [columns]))


@given(_TEXTS, st.data())
def test_a_cut_has_the_same_records(texts: list[bytes | None], data: st.DataObject) -> None:
    """Cutting a batch and packing the parts is packing the batch."""
    n = len(texts)
    columns = make_columns(texts, attributes_raw=pack_text([b"{}"] * n))
    at = data.draw(st.integers(0, n))
    parts = [blocks.cut(columns, 0, at), blocks.cut(columns, at, n)]
    (whole,) = blocks.pack_blocks(1, "shop", [columns])
    (again,) = blocks.pack_blocks(1, "shop", [part for part in parts if part.n])

    for name in ("message", "attributes", "ts", "stream_offset", "event", "severity"):
        assert unpack(again.columns[name], n) == unpack(whole.columns[name], n)


@given(st.lists(_INTS, min_size=1, max_size=5), st.lists(_INTS, min_size=5, max_size=5))
def test_every_admitted_time_can_be_shown_and_found(ts: list[int], observed: list[int]) -> None:
    """After admission times lie in [1970, arrival + 1 h]; a replaced event time is kept."""
    now = now_us()
    n = len(ts)
    columns = make_columns([b"x"] * n, ts_us=array("q", ts), observed_us=array("q", observed[:n]))
    admitted = blocks.admit_times(columns, now)
    latest, earliest = now + blocks.FUTURE_US, -946_684_800_000_000

    assert all(earliest <= t <= latest for t in (*admitted.ts_us, *admitted.observed_us))
    for i, t in enumerate(ts):
        kept = f'"outrider.event_time_us": {t}'
        if earliest <= t <= latest:
            assert admitted.ts_us[i] == t
            assert kept not in (admitted.attributes[i] or "")
        else:
            assert kept in (admitted.attributes[i] or "")


def test_admitting_good_times_costs_nothing() -> None:
    """The batch itself comes back."""
    columns = make_columns([b"x"])
    assert blocks.admit_times(columns, now_us()) is columns


def _batch(begin: int, end: int, *, stream: int = 1, session: int = 1, **more: Any) -> PendingBatch:
    return PendingBatch(
        agent=1, session=session, team=1, stream=stream, service="s", worker="w", host="h",
        begin=begin, end=end, previous_digest=b"%d" % begin, digest=b"%d" % end, **more,
    )  # fmt: skip


def test_chains_are_consecutive_batches_of_the_newest_session() -> None:
    """What does not continue, or belongs to an older session, waits a turn."""
    old = _batch(0, 5, session=1)
    first, second, jump = (
        _batch(0, 5, session=2),
        _batch(5, 9, session=2),
        _batch(20, 30, session=2),
    )
    other = _batch(0, 1, stream=-3)
    found, later = claim.chains([old, first, jump, second, other])

    assert [chain.batches for chain in found] == [[other], [first, second]]
    assert later == [old, jump]


@pytest.mark.parametrize(
    ("committed", "tail", "outcome"),
    [
        (0, b"0", "rewound"),
        (10, b"10", "tried again"),
        (10, b"x", "rewound"),
        (15, b"15", "rewound"),
        (20, b"20", "acknowledged"),
        (20, b"x", "rewound"),
        (30, b"30", "acknowledged"),
    ],
)
def test_an_answer_has_one_meaning(committed: int, tail: bytes, outcome: str) -> None:
    """A held, living, unclaimed row is judged by where it stands and what lies before."""
    chain = claim.Chain([_batch(5, 10), _batch(10, 20)])
    answer = Answer(
        1,
        known=True,
        held=True,
        live=True,
        over=False,
        claimed=False,
        committed=committed,
        tail=tail,
        framer_state=b"",
    )
    result = CommitResult()
    rest, _ = claim.judge(chain, answer, result)

    got = "tried again" if rest else "acknowledged" if result.acked else "rewound"
    assert got == outcome
    assert (len(result.rewinds) == 1) == (outcome == "rewound")


@given(st.lists(st.text()))
def test_array_literals_are_storable(values: list[str]) -> None:
    """Any text becomes a quoted element without what Postgres refuses."""
    literal = rows.storable(rows.array_literal(values))
    assert "\0" not in literal
    assert literal.encode()
    assert literal.startswith("{")
