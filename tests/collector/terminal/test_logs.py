"""The terminal: hostile content stays text; the command line finds, follows and explains."""

from __future__ import annotations

import argparse
import asyncio
import gzip
import io
import json
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider import command
from outrider.configuration import ConfigError
from outrider.errors import Fault, Reason
from outrider.visible import visible
from outrider_collector.store.reading.types import LogRow
from outrider_collector.terminal import follow
from outrider_collector.terminal.arguments import join_values, parse_filter, parse_time, resolve
from outrider_collector.terminal.output import Output
from outrider_collector.terminal.render import line, lines, table
from tests.collector.reading.rows import Record, Source, commit

if TYPE_CHECKING:
    from psycopg import AsyncConnection

NOW = datetime.now(UTC)
PAY = Source(1, "payments", "pay-1", "host-1")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def obeyed(character: str) -> bool:
    """Tell whether a terminal would obey a character instead of showing it."""
    return unicodedata.category(character) in {"Cc", "Zl", "Zp"} or unicodedata.bidirectional(
        character
    ) in {"RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI"}


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text(), max_size=2))
def test_no_escape_reaches_the_terminal(
    message: str, worker: str, attributes: dict[str, str]
) -> None:
    """Whatever a record holds, its line has no character that a terminal obeys."""
    row = LogRow(
        NOW, NOW, NOW, 17, "s", worker, "h", "file", None, message, message, None, None, message,
        json.dumps(attributes), 1, 1,
    )  # fmt: skip
    assert not any(map(obeyed, line(row, colours=False)))


def test_controls_are_shown_as_symbols() -> None:
    """Escape, newline, delete, C1 and direction marks each have a visible form."""
    assert visible("\x1b[31m\n\x7f\x9b\u202e") == "␛[31m␊␡<U+009B><U+202E>"
    assert visible("déjà 日本 👍") == "déjà 日本 👍"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    """A table's cells stand under their heads, without spaces at the ends of lines."""
    assert table(["A", "B"], [["longer", "x"]]) == ["A       B", "longer  x"]


def test_times_are_ages_or_moments() -> None:
    """An age counts back; a time without zone is UTC; anything else names the option."""
    assert parse_time("90m", "--since") == timedelta(minutes=90)
    late = datetime(2026, 7, 14, 23, 30, tzinfo=timezone(timedelta(hours=-4)))
    today = resolve(parse_time("03:50", "--since"), late)
    assert today == datetime(2026, 7, 15, 3, 50, tzinfo=UTC)
    assert parse_time("2026-07-14T13:00", "--since") == datetime(2026, 7, 14, 13, tzinfo=UTC)
    with pytest.raises(ConfigError, match="--until"):
        parse_time("yesterday", "--until")


def test_a_value_with_a_minus_reaches_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    """What is wrong is the number, not that one is missing; a flag before a term takes nothing."""
    with pytest.raises(SystemExit) as ended:
        command.main(["logs", "--limit", "-5"])
    assert ended.value.code == 2
    assert "--limit must be at least 1" in capsys.readouterr().err
    assert command.main(["silences", "add", "worker:w", "--for", "-2h"]) == 2
    assert "`-2h`" in capsys.readouterr().err

    parser = argparse.ArgumentParser()
    parser.add_argument("--limit")
    parser.add_argument("--json", action="store_true")
    assert join_values(["--json", "-5xx", "--limit", "-1", "--", "--limit", "-1"], [parser]) == [
        "--json", "-5xx", "--limit=-1", "--", "--limit", "-1",
    ]  # fmt: skip


def test_a_range_that_holds_nothing_is_said(
    filled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Reversed ends are a mistake; a beginning in the future is told beside the lines."""
    assert command.main(["logs", "--since", "1h", "--until", "2h"]) == 2
    assert "is not before --until (" in capsys.readouterr().err
    assert command.main(["logs", "--since", "2999-01-01"]) == 0
    assert "--since (2999-01-01 00:00:00 UTC) is in the future, " in capsys.readouterr().err


@pytest.fixture
def filled(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database with three lines, which the command line uses."""

    async def fill() -> None:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
            texts = ["started", "card declined", "\x1b]0;owned\x07 healthcheck"]
            records = [
                Record(PAY, i, NOW - timedelta(seconds=9 - i), text, severity=[9, 17, 9][i])
                for i, text in enumerate(texts)
            ]
            await commit(owner, records, NOW)

    asyncio.run(fill())
    monkeypatch.setenv("OUTRIDER_DATABASE_URL", database_url)
    return database_url


def test_logs_prints_matches_oldest_first(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the matches in order, and how complete they are beside them."""
    assert command.main(["logs", "service:payments", "-declined"]) == 0
    out, notes = capsys.readouterr()
    lines = out.splitlines()
    assert [x.split("pay-1 ")[1] for x in lines] == ["started", "␛]0;owned␇ healthcheck"]
    assert notes.startswith("2 lines. Complete up to ")


def test_an_exception_is_read_line_by_line() -> None:
    """On a terminal: frames below the record, behind a bar that nothing in them can fake."""
    stack = "Traceback:\n  File 'a'\n2026-03-01 12:00:00.000 ERROR s/w fake\x1b[2J\u202e"
    attributes = {"order": 7, "exception": {"type": "KeyError", "stacktrace": stack}}
    row = LogRow(
        NOW, NOW, NOW, 17, "s", "w", "h", "file", None, None, "it broke\r\nhere\n", None, None,
        None, json.dumps(attributes), 1, 0,
    )  # fmt: skip
    head, *below = lines(row, colours=False)
    assert "it broke order=7 exception={'type': 'KeyError'}" in head
    assert [text[:6] for text in below] == ["    \u2502 "] * 4
    assert below[0].endswith("here") and below[2].endswith("  File 'a'")
    assert below[3].endswith("fake\u241b[2J<U+202E>")
    assert not any(map(obeyed, "".join([head, *below])))
    long = msgspec.structs.replace(row, message="x\n" * 1_000)
    assert lines(long, colours=False)[-1].endswith("... 802 more lines, which --json has")
    # Others read a record a line.
    out, terminal = io.StringIO(), _Terminal()
    Output("text", out, io.StringIO()).write([row, row])
    Output("text", terminal, io.StringIO()).write([row, row])
    assert (out.getvalue().count("\n"), terminal.getvalue().count("\n")) == (2, 10)


def test_logs_writes_json_and_csv(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs there are JSON lines and CSV, with nothing else on standard output."""
    assert command.main(["logs", "--json", "severity>=error"]) == 0
    assert json.loads(capsys.readouterr().out)["message"] == "card declined"
    assert command.main(["logs", "--csv", "--limit", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_limit_that_cuts_is_told(filled: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the lines stands that there are more; a limit that everything fits is not news."""
    assert command.main(["logs", "--limit", "2"]) == 0
    out, notes = capsys.readouterr()
    assert [x.split("pay-1 ")[1] for x in out.splitlines()] == [
        "card declined", "␛]0;owned␇ healthcheck",
    ]  # fmt: skip
    assert notes.startswith("The newest 2 lines, more match: --limit N shows more. ")
    assert command.main(["logs", "--limit", "3"]) == 0
    assert capsys.readouterr().err.startswith("3 lines. ")


def test_json_is_newest_first_with_and_without_a_limit(
    filled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A limit changes how many lines there are, never their order."""
    orders = []
    for limit in ([], ["--limit", "3"]):
        assert command.main(["logs", "--json", *limit]) == 0
        orders.append([json.loads(x)["message"] for x in capsys.readouterr().out.splitlines()])
    assert orders[0] == orders[1]
    assert orders[0][-1] == "started"


def test_a_service_that_nobody_knows_is_said_so(
    filled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing found for an unknown name says so beside the empty answer."""
    assert command.main(["logs", "service:payment"]) == 0
    assert capsys.readouterr().err.startswith("0 lines. No worker has reported yet")
    command.main(["logs", "nowhere|never", "--since", "9h"])
    assert "`nowhere OR never` finds one or the other." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["logs", "severity=>error"], "column 9 of the filter"),
        (["logs", "--since", "soon"], "--since"),
    ],
)
def test_what_cannot_be_read_is_explained(
    argv: list[str], said: str, filled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong filter or time is one line that says where, with exit code 2."""
    assert command.main(argv) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "argv",
    [
        ["logs", "--lim", "3"], ["status", "--wat"], ["alerts", "list", "--al"], ["doctor", "--js"],
        ["store", "stats", "--js"], ["collector", "check", "--conf", "x"], ["agent", "--js"],
        ["workers", "retire", "w", "--comm", "x"], ["up", "--dem"], ["dashboard", "--lis", "x"],
    ],
)  # fmt: skip
def test_an_option_is_written_in_full(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A shortened option would mean another one with the next version: it is unknown."""
    with pytest.raises(SystemExit) as caught:
        command.main(argv)
    assert caught.value.code == 2
    assert "unrecognized arguments" in capsys.readouterr().err


def test_status_and_workers_have_text_and_json(
    filled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both views print sentences for people and one document for programs.

    Where no collector runs, that comes before what is known.
    """
    assert command.main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Unknown: no collector has reported yet: ")
    assert lines[1].startswith("Nothing is wrong.")
    assert command.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["overview"]["causes"] == []
    assert command.main(["workers"]) == 0
    assert capsys.readouterr().out == "No worker has reported yet.\n"
    assert command.main(["workers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


async def test_following_shows_each_line_once(
    owner: AsyncConnection[Any], database_url: str
) -> None:
    """With -f every line committed before or after the start appears once, in order."""
    out, notes = io.StringIO(), io.StringIO()
    await commit(owner, [Record(PAY, 1, NOW, "one")], NOW)
    asked = follow.Command(parse_filter(""), timedelta(hours=1), None, 100, follow=True)
    task = asyncio.create_task(follow.run(database_url, asked, Output("json", out, notes)))
    expected = ["one", "two", "three"]
    try:
        async with asyncio.timeout(20):
            for place, word in enumerate(expected):
                if place:
                    await commit(owner, [Record(PAY, place + 1, NOW, word)], NOW)
                while out.getvalue().count("\n") <= place:
                    await asyncio.sleep(0.02)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [json.loads(x)["message"] for x in out.getvalue().splitlines()] == expected


def test_logs_writes_compressed_files(
    filled: str, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unpacked they are what is written without; one that was cut off has no end."""
    for form in ("--json", "--csv"):
        assert command.main(["logs", form]) == 0
        plain, said = capfdbinary.readouterr()
        assert command.main(["logs", form, "--gzip"]) == 0
        packed, said_too = capfdbinary.readouterr()
        assert plain.count(b"\n") >= 2
        assert gzip.decompress(packed) == plain
        assert said.partition(b" ")[0] == said_too.partition(b" ")[0]
    with pytest.raises(SystemExit):
        command.main(["logs", "--gzip"])
    assert b"--gzip is for files" in capfdbinary.readouterr()[1]

    async def away(*_: object) -> str:
        raise Fault(Reason.STORE_DOWN, detail="gone")

    monkeypatch.setattr(follow, "_how_complete", away)
    assert command.main(["logs", "--csv", "--gzip"]) == 1
    with pytest.raises(EOFError):
        gzip.decompress(capfdbinary.readouterr()[0])
