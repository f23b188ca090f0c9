"""The predicate over columns says of each record what a plain reading of the tree says."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider.filter import And, Field, Filter, Node, Not, Or, Phrase, Regex, Word, parse
from tests.sdk.batches import batch
from tests.sdk.filter_oracle import Record, matches

# Few words, so that filters hit; among them those with case, boundary and folding of their own.
WORDS = ["timeout", "Timeout", "time", "out", "a", "é", "É", "42", "x_1", "k",
         "\u212a", "\u0130", "\u03c3", "\u03a3", "ab", "nb", "10.0", "ß"]  # fmt: skip
SEPARATORS = [" ", "", "-", "\n", "\t", '"', "\\", ".", "_", "🙂"]

texts = st.lists(st.sampled_from(WORDS + SEPARATORS), max_size=7).map("".join)
names = st.none() | st.sampled_from(["a.b", "order.filled", "EXCHANGE_TIMEOUT", "É x"])
scalars = st.none() | st.booleans() | st.integers(-300, 300) | texts | st.sampled_from(
    ["250", "007", "1e2", "-0", "2.50", "NaN"]
) | st.floats(-300, 300).map(lambda f: round(f, 2))  # fmt: skip
values: Any = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "ms", "a.b"]), inner, max_size=3)
    ),
    max_leaves=5,
)
attributes = st.none() | st.dictionaries(
    st.sampled_from(["a", "b", "ms", "a.b", "ms.b", "é"]), values, max_size=4
)
trace_ids = st.none() | st.sampled_from(["0af7651916cd43dd8448eb211c80319c", "0" * 32])

records = st.builds(
    Record,
    severity=st.integers(1, 24),
    message=st.none() | texts,
    attributes=attributes,
    logger=names,
    event=names,
    error_code=names,
    trace_id=trace_ids,
    correlation_id=st.none() | texts,
)
batches = st.lists(records, min_size=1, max_size=40)

paths = st.sampled_from(["a", "b", "ms", "a.b", "ms.b", "a.0", "a.-1", "é", "b.b.a"])
text_fields = st.builds(
    Field,
    st.sampled_from(["service", "worker", "host", "source", "logger", "event", "error_code",
                     "correlation_id"]),
    st.just(":"),
    st.sampled_from(["payments", "w1", "h", "order.filled", "a.b", "EXCHANGE_", "É", ""]) | texts,
    st.booleans(),
)  # fmt: skip
patterns = st.sampled_from(["time", "^a", "[kK]$", r"\bout\b", "a.b", "é|É", "^$", "(?i)TIME", "."])
nodes: st.SearchStrategy[Node] = st.recursive(
    st.one_of(
        st.builds(Word, st.sampled_from(WORDS), st.booleans()),
        st.builds(Phrase, texts.filter(bool)),
        text_fields,
        st.builds(
            Field,
            st.just("severity"),
            st.sampled_from([":", ">", ">=", "<", "<="]),
            st.sampled_from(["trace", "info", "warn", "error", "fatal", "10", "17", "1", "24"]),
        ),
        st.builds(Field, paths.map("attributes.{}".format), st.just(":"),
                  texts | st.sampled_from(["true", "null", "42", "250", "[]"]), st.booleans()),
        st.builds(Field, paths.map("attributes.{}".format),
                  st.sampled_from([">", ">=", "<", "<="]),
                  st.sampled_from(["0", "-1", "250", "2.5", "1e2", "42.0"])),
        st.builds(Field, paths.map("attributes.{}".format),
                  st.sampled_from([">", ">=", "<", "<="]), texts, st.just(False), st.just(True)),
        st.builds(Regex, patterns),
        st.builds(Field, st.sampled_from(["service", "worker", "event", "error_code", "logger",
                                          "correlation_id", "attributes.a", "attributes.ms.b"]),
                  st.just("~"), patterns),
        st.builds(Field, st.just("trace_id"), st.just(":"),
                  st.sampled_from(["0af7651916cd43dd8448eb211c80319c", "0af", ""]), st.booleans()),
        st.builds(Field, st.just("stream"), st.just(":"), st.sampled_from(["7", "8"])),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=4).map(lambda terms: And(tuple(terms))),
        st.lists(inner, min_size=2, max_size=4).map(lambda terms: Or(tuple(terms))),
        inner.map(Not),
    ),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(batches, nodes)
def test_predicate_equals_the_plain_reading(rows: list[Record], node: Node) -> None:
    """Whatever the records and the filter, exactly the rows that match one by one are returned."""
    expected = [i for i, row in enumerate(rows) if matches(node, row)]

    assert Filter(node, "").match(batch(rows)) == expected


@settings(max_examples=60, deadline=None)
@given(batches, st.lists(nodes, min_size=2, max_size=5))
def test_filters_share_a_batch_without_disturbing_each_other(
    rows: list[Record], many: list[Node]
) -> None:
    """What one filter has cached on a batch never changes what another one finds."""
    columns = batch(rows)
    for node in many * 2:
        expected = [i for i, row in enumerate(rows) if matches(node, row)]

        assert Filter(node, "").match(columns) == expected


@settings(max_examples=60, deadline=None)
@given(records, nodes, st.integers(20, 60))
def test_rare_matches_are_found_among_many(row: Record, node: Node, n: int) -> None:
    """Few candidates in a large batch are looked at one by one, with the same result."""
    plain = Record(message="nothing to see", severity=5)
    rows = [plain] * n + [row] + [plain] * n
    filter_ = Filter(And((Field("severity", ">", "debug"), node)), "")
    expected = [i for i, r in enumerate(rows) if r.severity > 8 and matches(node, r)]

    assert filter_.match(batch(rows)) == expected


def test_a_word_is_not_found_across_two_records() -> None:
    """The end of one message and the beginning of the next are not one word."""
    rows = [Record(message="time"), Record(message="out")]

    assert parse("timeout").match(batch(rows)) == []


def test_length_bytes_are_not_text() -> None:
    """A message of 97 bytes has the length byte of the letter a, which is no match for it."""
    rows = [Record(message="-" * 97), Record(message="A"), Record(message="-" * 65)]

    assert parse("a").match(batch(rows)) == [1]


def test_a_word_after_an_escaped_line_break_is_found() -> None:
    """The last line of a stack trace, which follows a JSON escape, is searched by words."""
    rows = [Record(attributes={"stack": "File x\nValueError: bad"})]

    assert parse("valueerror").match(batch(rows)) == [0]


def test_wide_dictionaries_are_matched() -> None:
    """A column with more than 255 distinct values, whose indexes take two bytes, is searched."""
    rows = [Record(logger=f"logger.{i}") for i in range(400)]

    assert parse("logger:logger.399").match(batch(rows)) == [399]
    assert parse("logger:logger.39*").match(batch(rows)) == [39, *range(390, 400)]


def test_escaped_attributes_are_read_as_what_they_mean() -> None:
    r"""An attribute written with \u escapes is compared by its characters."""
    rows = [Record(attributes={"ms": "abc"}, attributes_text='{"\\u006ds":"\\u0061bc"}')]

    assert parse("attrs.ms:abc").match(batch(rows)) == [0]


def test_attributes_that_are_no_json_match_nothing() -> None:
    """Damaged attributes are no error; comparisons with them are false."""
    rows = [Record(attributes_text='{"ms":'), Record(attributes_text='{"ms":300}')]

    assert parse("attrs.ms>250").match(batch(rows)) == [1]
    assert parse("attrs.ms>=300").match(batch(rows)) == [1]


def test_numbers_are_compared_exactly() -> None:
    """Integers beyond 2^53 and decimals keep all their digits in a comparison."""
    big = 9_007_199_254_740_993
    rows = [Record(attributes={"n": big}), Record(attributes={"n": big - 1})]

    assert parse(f"attrs.n>={big}").match(batch(rows)) == [0]


def test_hostile_expressions_are_linear() -> None:
    """A pattern that other engines take years for is answered at once."""
    rows = [Record(message="a" * 20_000 + "b")]

    assert parse("/(a*)*(a|aa)+$/").match(batch(rows)) == []


def test_an_empty_batch_and_an_empty_filter() -> None:
    """The empty filter matches all, and nothing matches in an empty batch."""
    columns = batch([Record(), Record()])

    assert parse("").match(columns) == [0, 1]
    empty = dataclasses.replace(columns, n=0, severity=b"")
    assert parse("severity:info").match(empty) == []


@pytest.mark.parametrize("text", ["service:other severity>=error x", "-worker:w1", "stream:8"])
def test_another_stream_is_decided_without_looking(text: str) -> None:
    """A filter that names another stream's fields touches no column at all."""
    columns = batch([Record(message="x", severity=17)])

    assert parse(text).match(columns) == []
    assert columns.cache == {}


def nested(depth: int, inner: str, kinds: list[bool]) -> str:
    """The JSON of a value within so many containers, of these kinds in turn."""
    wrapped = [kinds[i % len(kinds)] for i in range(depth)]
    opened = "".join('{"a":' if is_object else "[" for is_object in wrapped)
    return opened + inner + "".join("}" if is_object else "]" for is_object in reversed(wrapped))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 3_000),
    st.sampled_from(["1.50", '"foobar"', r'"\ud800"', "null", "{}", '{"b":[1,"x"]}', "NaN", ""]),
    st.lists(st.booleans(), min_size=1, max_size=3),
    st.sampled_from(["a:foo*", 'a:"{"*', "a>1", 'a>="b"', "a:/o{2}/", "a.a.a:1.50", "a.0.a.-1:*"]),
)
def test_no_attributes_disturb_a_comparison(
    depth: int, inner: str, kinds: list[bool], asked: str
) -> None:
    """Whatever a record's attributes hold, however deep: no error, and other records match."""
    hostile = Record(attributes_text=f'{{"a":{nested(depth, inner, kinds)}}}')
    likely = Record(attributes_text='{"a":"foobar"}')

    found = parse(f"attrs.{asked}").match(batch([likely, hostile]))
    assert (0 in found) == (asked in {"a:foo*", 'a>="b"', "a:/o{2}/"})


def test_a_container_is_compared_by_its_compact_json() -> None:
    """Numbers as they were written, characters as they are, white space left out."""
    text = '{"a": {"x": [1.50, -0, {}, [], [[true, null]]], "\\u00e9\\"": "\\u00e9\\n"}}'
    compact = r'{"x":[1.50,-0,{},[],[[true,null]]],"é\"":"é\n"}'
    deep = nested(400, "1", [True, False])

    rows = batch([Record(attributes_text=text), Record(attributes_text=f'{{"a":{deep}}}')])
    for sought, row in ((compact, 0), (deep, 1)):
        assert Filter(Field("attributes.a", ":", sought), "").match(rows) == [row]
