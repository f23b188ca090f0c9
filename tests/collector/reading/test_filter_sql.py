"""One filter language, two compilers: SQL and the predicate agree on every record."""

from __future__ import annotations

import random
import sys
import uuid
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import pq

from outrider.filter import FilterError, parse
from outrider.filter.folding import fold
from outrider_collector.store.erasing import levels
from outrider_collector.store.reading import (
    blocks,
    completeness,
    cost,
    filter_sql,
    gaps,
    logs,
    sieve,
    slices,
    word_sql,
)
from outrider_collector.store.reading.filter_sql import compile_filter
from outrider_collector.store.reading.level_sets import least_severity
from tests.collector.reading.compacting import compact_some
from tests.collector.reading.rows import BASE, HOUR, Record, Source, columns_of, commit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import AsyncConnection
    from psycopg.sql import Composable

STREAMS = [
    Source(71, "payments", "pay-1", "host-1", "file"),
    Source(72, "payments", "pay-2", "host-2", "inbox"),
    Source(81, "pay", "pay-1", "host-1", "run"),
]

# Texts at whose edges the two sides could differ: case beyond ASCII, characters that fold oddly,
# letters of other scripts beside ASCII words, escapes, control characters, wildcards of LIKE.
MESSAGES = [
    None, "", "error", "ERROR", "errors", "an error.", "error_code", "café", "CAFÉ", "cafés",
    "éerror", "errorş", "Straße", "STRASSE", "ﬀ", "K", "k", "İstanbul", "istanbul", "\u017f", "s",
    "Σίσυφος", "ΣΊΣΥΦΟΣ", "日本error語", "日本 error 語", "error²", "error½", "a_b", "a%b", "a\\b",
    "tab\terror", "line\nerror\nline",
    "x.error", "order-42", "order 42", "42", "(error)", "[error]",
    "error*", "ꙮerror", "\U0001d400error", "error\U0001d400", "-error", "\u2019error\u2019",
    "e\u0301rror", "null", "\u212a", "5 \u212b", "5 å",
]  # fmt: skip
ATTRIBUTES = [
    None, "{}", '{"a": 1}', '{"a": 1.0}', '{"a": "1"}', '{"a": 10}', '{"a": -2.5e3}', '{"a": null}',
    '{"a": true}', '{"a": {"b": "x"}}', '{"a.b": "x"}', '{"a": {"b": null}, "a.b": "y"}',
    '{"a": [1, {"b": "z"}, "error"]}', '{"a": "say \\"error\\""}', '{"a": "\\nerror"}',
    '{"a": "\\u0065rror"}', '{"error": 1}', '{"a": "1e400"}', '{"a": 1e99999}', '{"a": 1e-99999}',
    '{"a": "café"}', '{"a": "0x10"}', '{"a": "007"}', '{"a": ""}', '{"a": [ 1, 2 ]}',
    '{"a": {"b" : 2}}', '{"A": "error"}', '{"a":' * 400 + '"error"' + "}" * 400,
    f'{{"a": {"9" * 1000}}}', f'{{"a": {"9" * 1001}}}', f'{{"a": "9.{"9" * 999}"}}',
]  # fmt: skip
WORDS = [
    "error", "ERROR", "err", "café", "CAFÉ", "straße", "k", "K", "s", "\u017f", "istanbul",
    "İstanbul", "\u212a", "å", "\u212b",
    "σίσυφος", "ς", "42", "a_b", "a%b", "order-42", "_", "é", "語", "x", "1", "null", "*error", "a",
    "\\", "[error", "error]", "\u2019", "²", "true",
]  # fmt: skip
PATTERNS = [
    "error", "^error$", "[eE]rror.?$", r"\berr", "a.b", "(?i)CAFÉ", "order[- ]42", "E|x", "^$",
    "^.$", r"pay-\d", r"x\/?", "(error)+ 語", "host-[12]", r"[^\x00-\x7f]",
]  # fmt: skip
VALUES = ["payments", "pay", "pay-1", "host-1", "file", "order.filled", "E1", "c-1", "1", "x", ""]


def corpus() -> list[Record]:
    """Return records that combine the texts above with everything else."""
    dice = random.Random(5)
    records = []
    pairs: list[tuple[str | None, str | None]] = [(m, None) for m in MESSAGES] + [
        (None, a) for a in ATTRIBUTES
    ]
    pairs += [(dice.choice(MESSAGES), dice.choice(ATTRIBUTES)) for _ in range(60)]
    for offset, (message, attributes) in enumerate(pairs):
        records.append(
            Record(
                stream=dice.choice(STREAMS),
                offset=offset,
                ts=BASE + timedelta(seconds=dice.randint(0, 300)),
                message=message,
                attributes=attributes,
                severity=dice.randint(1, 24),
                logger=dice.choice([None, "app", "app.db", ""]),
                event=dice.choice([None, None, "order.filled", "error", "jobs.error_x"]),
                error_code=dice.choice([None, None, "E1", "EXCHANGE_ERROR", "error"]),
                trace_id=dice.choice([None, uuid.UUID(int=7), uuid.UUID(int=2**100)]),
                correlation_id=dice.choice([None, "c-1", "c-12", ""]),
            )
        )
    return records


CORPUS = corpus()


@pytest.fixture
async def stored(
    owner: AsyncConnection[Any], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The corpus in the database, in blocks of a few records, half of them compacted.

    A block is looked at in several pieces, as a large one is.
    """
    monkeypatch.setattr(blocks, "PIECE_RECORDS", 5)
    for start in range(0, len(CORPUS), 12):
        await commit(owner, CORPUS[start : start + 12], BASE + timedelta(minutes=6))
    assert await compact_some(database_url, 3) > 0


def quoted(text: str) -> str:
    """Return a value as a filter quotes it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def terms() -> st.SearchStrategy[str]:
    """Return texts of single terms, most of them valid."""
    words = st.one_of(st.sampled_from(WORDS), st.text(min_size=1, max_size=3))
    values = st.one_of(st.sampled_from(VALUES + WORDS), st.text(max_size=3))
    fields = st.sampled_from(
        ["service", "worker", "host", "source", "logger", "event", "error_code", "correlation_id",
         "attrs.a", "attrs.a.b", "attrs.a.1.b", "attrs.a.0", "attrs.A"]
    )  # fmt: skip
    ops = st.sampled_from([":", ">", ">=", "<", "<="])
    levels = st.sampled_from(["trace", "debug", "info", "warn", "error", "fatal", "10", "18", "24"])
    numbers = st.sampled_from(["0", "1", "1.0", "-2500", "9.99", "1e3", "1e400", "-1"])
    star = st.sampled_from(["", "*"])
    return st.one_of(
        st.builds("{}{}".format, words, star),
        st.builds(quoted, words),
        st.builds(lambda f, v, s: f"{f}:{quoted(v)}{s}", fields, values, star),
        st.builds("severity{}{}".format, ops, levels),
        st.builds("attrs.a{}{}".format, ops, numbers),
        st.builds(lambda op, v: f"attrs.a{op}{quoted(v)}", ops.filter(lambda o: o != ":"), values),
        st.builds("/{}/".format, st.sampled_from(PATTERNS)),
        st.builds("{}:/{}/".format, fields, st.sampled_from(PATTERNS)),
        st.builds("{}:*".format, fields),
        st.sampled_from(
            ["severity:*", "trace_id:*", "trace_id:0000*", "trace_id:" + "0" * 31 + "7",
             "stream:71", "stream:8*", "stream:071", "attrs.a:" + quoted("[1,2]"),
             "attrs.a:" + quoted('{"b":2}'), "attrs.a:" + quoted('{"b"') + "*"]
        ),
    )  # fmt: skip


def filters() -> st.SearchStrategy[str]:
    """Return texts of whole filters."""
    return st.recursive(
        terms(),
        lambda inner: st.one_of(
            st.builds("-({})".format, inner),
            st.builds("({} {})".format, inner, inner),
            st.builds("({} OR {})".format, inner, inner),
        ),
        max_leaves=5,
    )


async def by_sql(reader: AsyncConnection[Any], text: str) -> set[int]:
    """Return the offsets that the store finds, the same whether blocks are sieved before."""
    page = await logs.search(reader, parse(text), BASE, BASE + HOUR, 1_000)
    with sieving():
        other = await logs.search(reader, parse(text), BASE, BASE + HOUR, 1_000)
    assert other.rows == page.rows
    return {row.stream_offset for row in page.rows}


@contextmanager
def sieving() -> Iterator[None]:
    """Have all blocks looked into beside Postgres first, and filters asked by several processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sieve, "LEAST_RECORDS", 0)
        patch.setattr(sieve, "FRESH_FOR", timedelta(days=100_000))
        patch.setattr(slices, "MANY_RECORDS", 0)
        yield


def by_predicate(text: str) -> set[int]:
    """Return the offsets that the predicate accepts."""
    found: set[int] = set()
    for stream in STREAMS:
        records = [r for r in CORPUS if r.stream == stream]
        matches = parse(text).match(columns_of(stream, records))
        found |= {records[i].offset for i in matches}
    return found


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=filters())
@example(text="error")
@example(text="café OR k OR ς OR straße")
@example(text="-(severity>=error event:order.*) error")
@example(text="attrs.a>=1 -attrs.a:1")
@example(text="attrs.a>5")
@example(text="/err/ -service:/^pay$/ OR -event:/./ /order/ OR attrs.a:/x|z/")
async def test_sql_and_predicate_find_the_same(
    stored: None, reader: AsyncConnection[Any], text: str
) -> None:
    """For any filter, the store finds exactly the records that the predicate accepts."""
    try:
        parse(text)
    except FilterError:
        return
    if "\0" in text or any(0xD800 <= ord(c) < 0xE000 for c in text):
        return
    assert await by_sql(reader, text) == by_predicate(text)


@settings(deadline=None)
@given(text=filters())
@example(text="severity>=error (event:* OR severity:fatal)")
@example(text="severity>=error OR -severity<warn")
def test_nothing_matches_below_the_least_severity(text: str) -> None:
    """What is left out because it is less severe holds no match, whatever the filter says."""
    try:
        least = least_severity(parse(text).node)
    except FilterError:
        return
    found = by_predicate(text)
    assert all(record.severity >= least for record in CORPUS if record.offset in found)


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("", 1), ("severity>=error", 17), ("service:a severity>warn severity>=info", 17),
        ("severity:warn OR severity:fatal", 13), ("severity>=error OR failed", 1),
        ("-severity<error", 1), ("severity<=warn", 1), ("severity:*", 1),
    ],
)  # fmt: skip
def test_the_least_severity_is_known_where_all_terms_ask_for_it(text: str, least: int) -> None:
    """By AND the highest bound, by OR the lowest; nothing is concluded of a NOT."""
    assert least_severity(parse(text).node) == least


async def test_every_word_of_the_corpus_is_found_alike(
    stored: None, reader: AsyncConnection[Any]
) -> None:
    """Each text as a phrase, whatever its letters, is found in the same records by both."""
    found = 0
    for word in [*WORDS, *MESSAGES]:
        if word:
            matches = by_predicate(quoted(word))
            assert await by_sql(reader, quoted(word)) == matches, word
            found += bool(matches)
    assert found > len(WORDS)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=filters())
async def test_counts_are_the_number_of_matches(
    stored: None, reader: AsyncConnection[Any], text: str
) -> None:
    """However a count is made, from summaries or from records, it is the number of matches."""
    try:
        parse(text)
    except FilterError:
        return
    if "\0" in text or any(0xD800 <= ord(c) < 0xE000 for c in text):
        return
    expected = len(by_predicate(text))
    assert await logs.count(reader, parse(text), BASE, BASE + HOUR) == expected
    with sieving():
        assert await logs.count(reader, parse(text), BASE, BASE + HOUR) == expected
    buckets = await logs.histogram(reader, parse(text), BASE, BASE + HOUR, 37)
    assert sum(bucket.total for bucket in buckets) == expected


async def test_a_filter_is_compiled_before_a_transaction_is_open(
    stored: None, reader: AsyncConnection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked: the server ends a transaction in which a slow host only computes."""
    seen: list[pq.TransactionStatus] = []

    def condition(*arguments: Any, **named: Any) -> Composable:
        seen.append(reader.info.transaction_status)
        return word_sql.word_condition(*arguments, **named)

    monkeypatch.setattr(filter_sql, "word_condition", condition)
    asked, span = parse("error"), (BASE, BASE + HOUR)
    await logs.search(reader, asked, *span)
    async for _ in logs.export(reader, asked, *span):
        pass
    await logs.count(reader, asked, *span)
    await logs.histogram(reader, asked, *span)
    await logs.facets(reader, asked, *span)
    await logs.tail(reader, 0, asked)
    await cost.cost(reader, asked, *span)
    await gaps.gaps(reader, asked, *span)
    await completeness.completeness(reader, asked, *span)
    await levels.candidates(reader, asked, fresh=True)
    assert len(seen) >= 10
    assert set(seen) == {pq.TransactionStatus.IDLE}


def test_no_letter_is_beyond_the_planes_that_are_looked_through() -> None:
    """Of all that this Python's Unicode calls a letter or digit, or folds, none is left out."""
    beyond = map(chr, range(word_sql._BEYOND_ASCII.stop, sys.maxunicode + 1))
    assert not [each for each in beyond if each.isalnum() or fold(each) != each]


def test_values_are_parameters_and_never_sql() -> None:
    """Nothing a user typed becomes part of a statement."""
    hostile = "x'); drop table feed; --"
    compiled = compile_filter(parse(f"{quoted(hostile)} service:{quoted(hostile)}"))
    for condition in (compiled.block, compiled.record, compiled.streams):
        assert condition is not None
        assert "drop" not in condition.as_string()
    assert any(hostile == value for value in compiled.parameters.values())


def test_summaries_decide_only_services_and_whole_levels() -> None:
    """Counting from summaries is chosen exactly where they decide."""
    for text in ("", "service:a", "severity>=warn", "-severity:error -service:a", "severity:*"):
        assert compile_filter(parse(text)).levels is not None, text
    for text in ("x", "severity>=18", "worker:a", "service:a OR severity:info", "event:a.b"):
        assert compile_filter(parse(text)).levels is None, text
