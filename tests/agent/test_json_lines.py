"""JSON lines: the quick way and the careful way give the same records, whatever a line holds."""

from __future__ import annotations

import codecs
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.instants import to_us
from outrider_agent import json_fields
from outrider_agent.framing import Framer
from outrider_agent.json_lines import JsonReader
from outrider_agent.parsing import Parser
from outrider_agent.records import Records
from outrider_agent.times import TimeReader

OBSERVED_US = to_us(datetime(2026, 11, 24, 20, 5, 13, tzinfo=UTC))

TEXTS = st.text(max_size=12)
NAMES = st.one_of(st.none(), st.text(max_size=8), st.integers(), st.just("x" * 300))
TIMES = st.one_of(
    st.just("2026-11-24T20:02:31.123456Z"),
    st.just("2026-11-24T20:02:32.5Z"),
    st.sampled_from(
        [
            "2026-11-24 20:02:31,123",
            "yesterday",
            "1969-01-01T00:00:00Z",
            "2999-01-01T00:00:00.1Z",
            1_795_550_551,
            1_795_550_551_123,
            1e400,
            True,
            None,
            "2026-13-99T99:99:99.000000Z",
            "2026-11-24T20:02:31.1²3456Z",
        ]
    ),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        TEXTS,
        st.just(10**400),
        st.just("\0"),
        st.just("\ud800"),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=6,
)
OBJECTS = st.fixed_dictionaries(
    {},
    optional={
        "ts": TIMES,
        "severity": st.one_of(st.integers(-2, 300), st.just("error")),
        "level": st.one_of(st.sampled_from(["info", "WARN", "nonsense"]), st.integers(0, 60)),
        "message": st.one_of(TEXTS, st.none(), st.integers()),
        "logger": NAMES,
        "event": NAMES,
        "error_code": NAMES,
        "trace_id": st.one_of(st.none(), st.just("0af7651916cd43dd8448eb211c80319c"), TEXTS),
        "correlation_id": NAMES,
        "attributes": st.one_of(st.dictionaries(TEXTS, VALUES, max_size=3), VALUES),
        "other": VALUES,
    },
)
HOSTILE = st.sampled_from(
    [
        b'{"message":"a"}{"message":"b"}',
        b'{"message":{}',
        b"{",
        b"}",
        b"{}",
        b'{"message":"',
        b'"}',
        b'{"message":"\xff"}',
        b'{"message":"\\ud800"}',
        b'{"attributes":{"a":1e99999}}',
        b'{"attributes":{"a":"\\u0000"}}',
        b'{"attributes":{"a":"\xff"}}',
        b'{"attributes":{}}',
        b'{"message":"m","attributes":{"a":1e400,"b":1E5, "b":-0}}',
        b'{"message":"m","attributes":{"a":"\\u00e9\\/\\b\\u001b\\ud83d\\ude00\\\\u00e9"}}',
        b'{"message":"m","severity":9,"attributes":{"a" : "\\ude00\\ud83d"}}',
        b'{"message":"m","level":"info","attributes":{"\\u0022":"\\\\\\u005c\\/\\\\/"}}',
        b'{"message":"\\u0000"}',
        b'{"message":"x","attributes":' + b"[" * 3000 + b"]" * 3000 + b"}",
        b"[1]",
        b"7",
        b"null",
        b'{"message":"a"} ',
        b' {"message":"a"}',
        b'{"a":1}trailing}',
        b"plain text",
        b"\0",
        b'{"attributes":{"n":' + b"9" * 5000 + b"}}",
    ]
)
LINES = st.lists(
    st.one_of(
        OBJECTS.map(lambda o: json.dumps(o).encode()),
        OBJECTS.map(lambda o: json.dumps(o, ensure_ascii=False).encode("utf-8", "surrogatepass")),
        HOSTILE,
        # NUL bytes before a line are part of none: framing passes over them.
    ).filter(lambda line: not line.startswith(b"\0")),
    min_size=1,
    max_size=10,
)


def parse(lines: list[bytes], name: str = "auto") -> Records:
    """Records of whole lines."""
    data = b"\n".join(lines) + b"\n"
    return Parser(name, UTC).parse(Framer(0).feed(data), OBSERVED_US)


@given(LINES)
def test_a_line_never_changes_what_its_neighbours_are(lines: list[bytes]) -> None:
    """Each line's record is the one it would be alone, at its own offset."""
    together = parse(lines, "json")
    alone = [parse([line], "json") for line in lines]

    assert len(together) == len(lines)
    for column in (
        "ts_us",
        "severity",
        "message",
        "logger",
        "event",
        "error_code",
        "trace_id",
        "correlation_id",
    ):
        assert list(getattr(together, column)) == [getattr(one, column)[0] for one in alone]
    offsets = [sum(len(line) + 1 for line in lines[:i]) for i in range(len(lines))]
    assert together.stream_offset == offsets
    assert together.attributes == [one.attributes[0] for one in alone]


@given(LINES)
def test_what_is_sent_is_clean(lines: list[bytes]) -> None:
    """Every text is UTF-8 without NUL, and attributes are JSON that Postgres keeps as jsonb."""
    records = parse(lines)
    packed = records.pack()

    assert packed.count == len(lines)
    for text in (*records.message, *records.attributes):
        if text is not None:
            assert b"\0" not in text
            text.decode()
    for raw in records.attributes:
        if raw is not None:
            found = json.loads(raw, parse_constant=_no_constant)
            assert isinstance(found, dict)
            assert b"\\u0000" not in raw
            json.dumps(found, ensure_ascii=False).encode()  # no lone surrogate in it


def _no_constant(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


@given(st.lists(OBJECTS, min_size=1, max_size=6))
def test_quick_and_careful_way_agree(objects: list[dict[str, Any]]) -> None:
    """A line that the quick way takes gives what the careful way gives for it."""
    lines = [json.dumps(o, ensure_ascii=True).encode() for o in objects]
    starts = list(range(len(lines)))
    quick, careful = Records(), Records()
    JsonReader(TimeReader()).read(lines, starts, OBSERVED_US, quick, lambda *_: None)
    reader = json_fields.ObjectReader(TimeReader())
    for line, start in zip(lines, starts, strict=True):
        loaded = json_fields.load(line)
        if loaded is not None:
            reader.append(loaded[0], start, OBSERVED_US, careful, changed=loaded[1])

    assert quick.ts_us == careful.ts_us
    assert quick.severity == careful.severity
    assert quick.message == careful.message
    assert quick.trace_id == careful.trace_id
    assert [a and json.loads(a) for a in quick.attributes] == [
        a and json.loads(a) for a in careful.attributes
    ]


READABLE = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3)
ESCAPED_TEXTS = st.lists(
    st.one_of(
        READABLE.map(lambda text: json.dumps(text)[1:-1]),
        READABLE.map(lambda text: json.dumps(text, ensure_ascii=False)[1:-1]),
        st.sampled_from(
            ["\\/", "\\b", "\\n", "\\\\", '\\"', "\\u0041", "\\u00E9", "\\u005c", "u00e9"]
        ),
    ),
    max_size=8,
).map("".join)


@given(ESCAPED_TEXTS, ESCAPED_TEXTS)
def test_a_text_is_stored_as_it_reads(key: str, text: str) -> None:
    """Attributes mean what was written, and what can stand for itself in them does.

    So a word is found that was written with escapes; numbers keep their digits.
    """
    written = f'{{"{key}": {{"n":1.50, "t":"{text}"}}}}'.encode()
    stored = parse([SDK_LINE % written], "json").attributes[0] or b""

    assert json.loads(stored) == json.loads(written)
    assert b"1.50" in stored
    for escape in re.findall(rb"\\\\|\\/|\\u.{4}", stored):
        assert json.loads(b'"%b"' % escape) in {"\\", *map(chr, range(1, 0x20))}


def test_accents_that_were_written_as_escapes_are_found() -> None:
    """What ``json.dumps`` writes for ASCII is stored as the name that was meant."""
    line = json.dumps({"ts": "2026-11-24T20:02:31.000Z", "severity": 9, "message": "José",
                       "attributes": {"name": "José", "\U0001f600": "a\nb"}})  # fmt: skip
    records = parse([line.encode(), b'{"other":1,"message":"m"}'])

    assert records.message[0] == "José".encode()
    assert records.attributes[0] == '{"name": "José", "\U0001f600": "a\\nb"}'.encode()


def test_a_line_of_the_sdk_is_read_whole() -> None:
    """The known fields become columns and attributes stay as they are written."""
    line = (
        b'{"ts":"2026-11-24T20:02:31.123456Z","severity":17,"logger":"pay","event":"order.filled",'
        b'"message":"done","error_code":"X_1","trace_id":"0af7651916cd43dd8448eb211c80319c",'
        b'"correlation_id":"c-1","attributes":{"order_id":42}}'
    )
    records = parse([line])

    written = datetime(2026, 11, 24, 20, 2, 31, 123456, tzinfo=UTC)
    assert records.ts_us == [to_us(written)]
    assert records.severity == bytearray([17])
    assert (records.message, records.logger, records.event) == (
        [b"done"],
        ["pay"],
        ["order.filled"],
    )
    assert (records.error_code, records.correlation_id) == (["X_1"], [b"c-1"])
    assert records.trace_id == [bytes.fromhex("0af7651916cd43dd8448eb211c80319c")]
    assert records.attributes == [b'{"order_id":42}']


@pytest.mark.parametrize(
    ("line", "severity", "message"),
    [
        (b'{"level":"warning","msg":"a"}', 13, b"a"),
        (b'{"level":50,"msg":"a"}', 17, b"a"),
        (b'{"lvl":"E","message":"a"}', 17, b"a"),
        (b'{"severity_text":"Information","message":{"a":1}}', 9, b'{"a": 1}'),
        (b'{"severity":"critical"}', 21, None),
    ],
)
def test_foreign_names_are_known(line: bytes, severity: int, message: bytes | None) -> None:
    """Severity and message are found under the names that others give them."""
    records = parse([line])

    assert (records.severity[0], records.message[0]) == (severity, message)


def test_other_keys_become_attributes() -> None:
    """Nothing that a writer wrote is lost: unknown and unfit keys are attributes."""
    records = parse([b'{"order":7,"level":"loud","logger":5,"attributes":{"order":8},"ts":"x"}'])

    assert json.loads(records.attributes[0] or b"") == {
        "order": 8,
        "_order": 7,
        "level": "loud",
        "logger": 5,
        "outrider.time": {"original": "x", "reason": "unreadable"},
    }


@pytest.mark.parametrize("when", ["1989-12-31T23:59:59Z", "2026-11-24T21:05:14Z"])
def test_absurd_times_are_replaced_and_kept(when: str) -> None:
    """Before 1990 or over an hour ahead: the time of reading, with the original as a mark."""
    records = parse([json.dumps({"ts": when, "message": "m"}).encode()])

    assert records.ts_us == [OBSERVED_US]
    mark = json.loads(records.attributes[0] or b"")["outrider.time"]
    assert mark == {"original": when, "reason": "absurd"}


def test_bad_bytes_are_kept_and_marked() -> None:
    """NUL and bytes that are not UTF-8 are written as escapes, and the record says so."""
    records = parse([b'{"message":"a\xffb\\u0000"}', b"plain \xff\0"])

    assert records.message == [b"a\\xffb\\x00", b"plain \\xff\\x00"]
    for raw in records.attributes:
        assert json.loads(raw or b"")["outrider.sanitized"] is True


def test_a_byte_order_mark_hides_no_object() -> None:
    """Files that were put together have marks in their middle, too."""
    mark = codecs.BOM_UTF8
    line = b'{"message":"m"}'
    records = parse([mark + line, line, mark + line, mark + b"plain"])

    assert records.message == [b"m", b"m", b"m", mark + b"plain"]


def test_an_overlong_line_is_cut_and_marked() -> None:
    """A line over 256 KiB keeps its head and says how long it was."""
    line = b'{"message":"' + b"x" * 300_000 + b'"}'
    records = parse([b'{"message":"before"}', line, b'{"message":"after"}'])

    assert [m and m[:6] for m in records.message] == [b"before", b'{"mess', b"after"]
    assert len(records.message[1] or b"") <= 256 * 1024
    assert json.loads(records.attributes[1] or b"")["outrider.truncated"] == {
        "original_bytes": len(line)
    }


SDK_LINE = b'{"ts":"2026-11-24T20:02:31.123456Z","severity":9,"message":"m","attributes":%s}'


@pytest.mark.parametrize(
    "number", ["1e99999", "-1E99999", "2.5e+99999", "1E+123456", "0.1e-99999", "9" * 5000]
)
@pytest.mark.parametrize("layout", ['{"n":%s}', '{"n": [1, %s]}', '{"a":{"n":\t%s}}', '{"n":[%s]}'])
def test_an_endless_number_is_never_sent_as_one(number: str, layout: str) -> None:
    """Postgres's jsonb refuses such numbers, so they are sent as texts, or as what they come to."""
    lines = [SDK_LINE % b"{}", SDK_LINE % (layout % number).encode()]

    sent = parse(lines, "json").attributes[1]

    assert sent is not None
    assert number.encode() not in sent.replace(b'"' + number.encode() + b'"', b"")


def test_an_id_that_looks_like_a_number_is_none() -> None:
    """Ids in hexadecimal are texts: their run is taken the quick way, as it is written."""
    attributes = b'{"id": "12e99999999","uuid":"0af7-651e-123456"}'

    # The careful way would write it without the space.
    assert parse([SDK_LINE % attributes] * 3, "json").attributes == [attributes] * 3
