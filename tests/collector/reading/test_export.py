"""Exports: the search again, of any size, safe to open."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.filter import parse
from outrider_collector.store.reading import logs
from outrider_collector.store.reading.export import (
    COLUMNS,
    csv_cell,
    csv_header,
    csv_line,
    json_line,
)
from outrider_collector.store.reading.types import LogRow
from tests.collector.reading.rows import BASE, HOUR, Record, Source, commit, newest_first

if TYPE_CHECKING:
    from psycopg import AsyncConnection

FULL_WIDTH = ("\uff1d", "\uff0b", "\uff0d", "\uff20")

PAY = Source(1, "payments", "pay-1")


def row(message: str | None = "m", attributes: str | None = None) -> LogRow:
    """Return a record."""
    return LogRow(
        BASE, BASE, BASE, 17, "s", "w", "h", "file", None, "a.b", message, None,
        UUID(int=255), None, attributes, 7, 9,
    )  # fmt: skip


async def test_an_export_equals_the_search(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """In chunks of any size an export is all matches in the order of search."""
    records = [
        Record(PAY, i, BASE + timedelta(seconds=(i * 7) % 100), "a" if i % 3 else "b")
        for i in range(700)
    ]
    for start in range(0, 700, 100):
        await commit(owner, records[start : start + 100], BASE + timedelta(minutes=2))
    for text, chunk in (("", 64), ("b", 50), ("b", 10_000), ("absent", 10)):
        found: list[tuple[int, int]] = []
        async for rows in logs.export(reader, parse(text), BASE, BASE + HOUR, chunk=chunk):
            assert 0 < len(rows) <= chunk
            found += [(r.stream, r.stream_offset) for r in rows]
        assert found == newest_first(r for r in records if text in {"", r.message})


async def test_an_export_goes_on_where_it_was_broken_off(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """With the last record's cursor an interrupted export continues without repeat or hole."""
    records = [Record(PAY, i, BASE) for i in range(50)]
    await commit(owner, records)
    first = logs.export(reader, parse(""), BASE, BASE + HOUR, chunk=20)
    given_out = await anext(first)
    await first.aclose()
    rest = [
        r.stream_offset
        async for rows in logs.export(
            reader, parse(""), BASE, BASE + HOUR, chunk=20, after=given_out[-1].cursor
        )
        for r in rows
    ]
    assert [r.stream_offset for r in given_out] + rest == list(range(49, -1, -1))


@given(st.text())
def test_no_cell_begins_a_formula(text: str) -> None:
    """Whatever a message holds, its cell is one quoted cell that no spreadsheet computes."""
    (parsed,) = next(csv.reader(io.StringIO(csv_cell(text), newline=""), strict=True), [""])
    assert parsed.removeprefix("'") == text.removeprefix("'") or parsed == text
    assert not parsed.startswith(("=", "+", "-", "@", "\t", "\r", *FULL_WIDTH))
    assert text in parsed


@pytest.mark.parametrize(
    "before", ["", " ", "\n", "\r\n ", "\t", "\xa0", "\u200b", "\ufeff", "\x9b \x00"]
)
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", *FULL_WIDTH])
def test_nothing_unseen_hides_a_formula(before: str, sign: str) -> None:
    """Blanks, line breaks and invisible characters before the sign do not spare the guard."""
    assert csv_cell(f"{before}{sign}1+1").startswith("\"'")
    assert csv_cell(f"{before}a{sign}1").startswith("\"'") == before.startswith(("\t", "\r", "\n"))


def test_csv_has_every_column() -> None:
    """A line of CSV has the header's cells, absent ones empty, times in UTC."""
    text = csv_header() + csv_line(row('=cmd|"x"!A1\r\nnext', '{"a":1}'))
    head, cells = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert head == list(COLUMNS)
    found = dict(zip(head, cells, strict=True))
    assert found["message"] == '\'=cmd|"x"!A1\r\nnext'
    assert found["ts"] == "2026-01-05T10:00:00.000000Z"
    assert (found["logger"], found["level"], found["attributes"]) == ("", "ERROR", '{"a":1}')
    assert found["trace_id"] == "0" * 30 + "ff"


def test_json_lines_hold_nothing_a_terminal_obeys() -> None:
    """Controls and changes of direction leave as escapes, and mean what they did."""
    message = "a\x1b]0;t\x07b\x9b31mc\u202ed\x7f\u200be\u2028f\U000e0041"
    text = json_line(row(message, json.dumps({"k": message}, ensure_ascii=False)))
    assert all(character.isprintable() for character in text[:-1])
    assert json.loads(text)["message"] == json.loads(text)["attributes"]["k"] == message


@given(st.text(), st.dictionaries(st.text(), st.integers() | st.text(), max_size=3))
def test_json_lines_hold_the_record(message: str, attributes: dict[str, Any]) -> None:
    """A JSON line is one line and gives back message and attributes exactly."""
    text = json_line(row(message, json.dumps(attributes)))
    assert text.count("\n") == 1
    assert text.endswith("\n")
    record = json.loads(text)
    assert (record["message"], record["attributes"]) == (message, attributes)
    assert (record["stream"], record["stream_offset"], record["level"]) == (7, 9, "ERROR")
    assert "logger" not in record
