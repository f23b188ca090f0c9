"""From the parts of a record to a line: whatever the values are, any reader can read it."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider import record
from outrider.record import MAX_RECORD_BYTES

NOON_NS = int(datetime(2026, 1, 31, 12, tzinfo=UTC).timestamp()) * 10**9


def line(
    message: str = "m", fields: dict[str, Any] | None = None, ns: int = NOON_NS
) -> dict[str, Any]:
    """The record that a reader gets."""
    raw = record.encode(ns, 9, message, record.place("app.orders", "order.filled"), fields or {})
    assert raw.endswith(b"}\n") and raw.count(b"\n") == 1
    assert len(raw) <= MAX_RECORD_BYTES
    assert b"\\u0000" not in raw
    read: dict[str, Any] = json.loads(raw.decode("utf-8"))
    return read


def test_the_parts_of_a_record() -> None:
    """Time, severity, message, logger, event and attributes have their places."""
    assert line("charged", {"order_id": 42}) == {
        "ts": "2026-01-31T12:00:00.000000Z",
        "severity": 9,
        "message": "charged",
        "logger": "app.orders",
        "event": "order.filled",
        "attributes": {"order_id": 42},
    }


def test_ids_and_codes_stand_beside_the_message() -> None:
    """error_code, trace_id and correlation_id are not attributes."""
    read = line("m", {"error_code": "E", "trace_id": "0af", "correlation_id": uuid.UUID(int=1)})

    assert (read["error_code"], read["trace_id"]) == ("E", "0af")
    assert read["correlation_id"] == "00000000-0000-0000-0000-000000000001"
    assert "attributes" not in read


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)))  # noqa: DTZ001  made aware below
def test_times(moment: datetime) -> None:
    """Any time is RFC 3339 in UTC to the microsecond, also when seconds alternate."""
    moment = moment.replace(tzinfo=UTC)
    seconds = int(
        (moment.replace(microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    )
    ns = seconds * 10**9 + moment.microsecond * 1000

    assert datetime.fromisoformat(line(ns=ns)["ts"]) == moment
    assert line(ns=NOON_NS)["ts"] == "2026-01-31T12:00:00.000000Z"


class Broken:
    """An object without a text."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


LOOP: list[Any] = []
LOOP.append(LOOP)
DEEP: list[Any] = []
for _ in range(5000):
    DEEP = [DEEP]

ODD: list[object] = [
    float("nan"), float("inf"), 1 << 200, 10**5000, b"\xff\x00", {1, 2}, Broken(), object(), LOOP,
    DEEP, {(1, 2): 3}, {"a\0": "\0"}, "\udc80", "x\ud800", Decimal("1.10"), datetime.now(UTC),
    uuid.uuid4(), "y" * 300_000, ["z" * 100] * 10_000, {str(i): i for i in range(500)},
    ValueError("bad"), line, 1 << 64, -(1 << 63),
]  # fmt: skip
# By their place, because some of them have no repr to show.
odd = st.sampled_from(range(len(ODD))).map(lambda place: ODD[place])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | odd,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(
    st.text(st.characters(), max_size=50),
    st.dictionaries(st.text(max_size=8), anything, max_size=6),
)
def test_anything_comes_to_a_line(message: str, fields: dict[str, Any]) -> None:
    """Encoding never raises; its line is always UTF-8, JSON, free of NUL and bounded."""
    read = line(message, fields)

    assert read["severity"] == 9
    if message.isprintable():
        assert read["message"] == message


_plain = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)


@given(
    st.dictionaries(
        _plain.filter(lambda key: key not in record.LIFTED),
        st.integers(-(2**63), 2**64 - 1) | st.booleans() | st.none() | _plain,
        max_size=5,
    )
)
def test_plain_values_are_kept_exactly(fields: dict[str, Any]) -> None:
    """Texts, integers, booleans and null come back as they were."""
    assert line("m", fields).get("attributes", {}) == fields


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("\udcff", "\\udcff"),
        ("a\0b", "a\\x00b"),
        (float("nan"), "nan"),
        (Decimal("1.10"), "Decimal('1.10')"),
        (b"\xffx", "\\xffx"),
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00+00:00"),
        (Broken(), "<Broken without repr>"),
        ("y" * 300_000, "y" * 8192 + "... (300000 characters)"),
    ],
)
def test_what_json_cannot_hold_is_kept_in_a_safe_form(value: object, kept: str) -> None:
    """Lone surrogates, NUL, NaN, bytes, long texts and odd objects stay visible."""
    assert line("m", {"x": value})["attributes"]["x"] == kept


def test_a_record_over_the_limit_says_so() -> None:
    """Where even bounded attributes are too large they are left out, marked by their size."""
    read = line("m" * 200_000, {"correlation_id": "c", **{f"k{i}": "v" * 9000 for i in range(64)}})

    assert read["message"].endswith("... (200000 characters)")
    assert read["correlation_id"] == "c"
    assert read["attributes"]["truncated_bytes"] > MAX_RECORD_BYTES
