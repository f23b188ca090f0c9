"""Reading logs in a terminal: neighbours of hits, the pager."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider import command
from outrider_collector.store.reading.types import LogRow
from outrider_collector.terminal import around, follow, output, pager
from outrider_collector.terminal.arguments import parse_filter
from tests.collector.reading.rows import BASE, Record, Source, commit

if TYPE_CHECKING:
    from pathlib import Path

PAY = Source(1, "payments", "pay-1")
ETL = Source(2, "etl", "ledger")


def row(stream: int, offset: int) -> LogRow:
    """Return a record whose time runs against its offset."""
    return LogRow(
        BASE - timedelta(seconds=offset), BASE, BASE, 9, "s", "w", "h", "file", None, None,
        f"{stream}/{offset}", None, None, None, None, stream, offset,
    )  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(1, 2), st.integers(0, 29)), min_size=1, max_size=8, unique=True),
    st.integers(1, 4),
)
def test_groups_are_those_of_grep(hits: list[tuple[int, int]], lines: int) -> None:
    """Each line within so many of a hit is shown once; only what is not neighbours is parted."""
    streams = {s: [row(s, i * 10) for i in range(30)] for s in (1, 2)}
    rows = [streams[s][i] for s, i in hits]
    windows = {(s, i * 10): streams[s][max(i - lines - 1, 0) : i + lines + 1] for s, i in hits}

    groups = around.groups(rows, windows, lines)

    shown = [(one.stream, one.stream_offset // 10) for group in groups for one, _ in group]
    near = {(s, i + d) for s, i in hits for d in range(-lines, lines + 1) if 0 <= i + d < 30}
    assert sorted(shown) == sorted(near)
    assert {(r.stream, r.stream_offset // 10) for g in groups for r, hit in g if hit} == set(hits)
    ends = [(g[0][0], g[-1][0]) for g in groups]
    for group in groups:
        places = [one.stream_offset // 10 for one, _ in group]
        assert places == list(range(places[0], places[-1] + 1))
        assert len({one.stream for one, _ in group}) == 1
        before = (group[0][0].stream, group[0][0].stream_offset - 10)
        assert before not in {(last.stream, last.stream_offset) for _, last in ends}


@pytest.fixture
def filled(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two streams whose lines were committed by turns; two lines of the first are errors."""

    async def fill() -> None:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
            for i in range(12):
                severity = 17 if i in {3, 10} else 9
                records = [
                    Record(PAY, i, BASE + timedelta(seconds=i), f"pay {i}", severity=severity),
                    Record(ETL, i, BASE + timedelta(seconds=i), f"etl {i}"),
                ]
                await commit(owner, records, BASE + timedelta(seconds=30))

    asyncio.run(fill())
    monkeypatch.setenv("OUTRIDER_DATABASE_URL", database_url)


def test_context_shows_neighbours_of_the_stream(
    filled: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hits are marked, groups parted, and other streams left out; the note counts hits."""
    since = ["--since", BASE.isoformat()]
    assert command.main(["logs", "severity>=error", "--context", "2", *since]) == 0
    out, notes = capsys.readouterr()
    assert [x[0] + x.rpartition(" ")[2] for x in out.splitlines()] == [
        " 1", " 2", ">3", " 4", " 5", "---", " 8", " 9", ">10", " 11",
    ]  # fmt: skip
    assert "etl" not in out
    assert notes.startswith("2 lines. ")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--context", "2", "--json"], "leave out --json"),
        (["--context", "2", "-f"], "leave out --json"),
        (["--context", "501"], "0 to 500"),
        (["--context", "-1"], "0 to 500"),
        (["--limit", "100001"], "stream any number"),
    ],
)
def test_options_that_do_not_go_together(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be done is a usage error that says what to do instead."""
    with pytest.raises(SystemExit) as ended:
        command.main(["logs", *options])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_limit_ends_a_stream(filled: None, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON with a limit is the newest so many, and that there are more is told."""
    for limit, more in (("5", True), ("24", False), ("25", False)):
        assert command.main(["logs", "--json", "--limit", limit, "--since", BASE.isoformat()]) == 0
        out, notes = capsys.readouterr()
        offsets = [json.loads(x)["stream_offset"] for x in out.splitlines()]
        assert offsets == sorted([*range(12), *range(12)], reverse=True)[: int(limit)]
        assert ("more match" in notes) == more


def test_what_exceeds_the_screen() -> None:
    """Folded lines count as often as they are folded, colours not at all."""
    assert not pager.exceeds(["a"] * 23, 80, 24)
    assert pager.exceeds(["a"] * 24, 80, 24)
    assert pager.exceeds(["a" * 801] * 3, 80, 24)
    assert not pager.exceeds(["\x1b[2m" + "a" * 80 + "\x1b[0m\n".rstrip()] * 23, 80, 24)


def test_the_pager_is_the_users() -> None:
    """$PAGER is a command with arguments; empty or cat is none; less is the default."""
    assert pager.command({"PAGER": "more -d"}) == ["more", "-d"]
    assert pager.command({}) == ["less"]
    for none in ("", "cat", "'", "cat -n"):
        assert pager.command({"PAGER": none}) == []
    assert not pager.show("x", {"PAGER": "/nonexistent/pager"})


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_long_text_goes_to_the_pager_and_notes_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal what is longer than the screen is piped to $PAGER; what fits is printed."""
    shown = tmp_path / "shown"
    script = tmp_path / "pager"
    script.write_text(f"#!/bin/sh\nkill -INT $PPID\ncat > {shown}\n")
    script.chmod(0o755)
    monkeypatch.setenv("PAGER", str(script))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LINES", "10")
    for lines, paged in ((5, False), (50, True)):
        out, notes = Terminal(), io.StringIO()
        writing = output.Output("text", out, notes, paged=True)
        writing.write(row(1, i) for i in range(lines))
        writing.note("all of them")
        assert (out.getvalue(), notes.getvalue()) == ("", "")
        writing.end()
        text = shown.read_text() if paged else out.getvalue()
        assert text.count("\n") == lines
        assert bool(out.getvalue()) != paged
        assert notes.getvalue() == "all of them\n"
    # The interrupt was the pager's, and ours again afterwards.
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


async def test_following_outlives_the_connection(database_url: str) -> None:
    """When the server ends the connection, that and its return are told once; no line is lost."""
    out, notes = io.StringIO(), io.StringIO()
    asked = follow.Command(parse_filter("pay"), timedelta(hours=1), None, 100, follow=True)
    writing = output.Output("json", out, notes)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
        now = datetime.now(UTC)
        await commit(owner, [Record(PAY, 0, now, "pay 0")], now)
        task = asyncio.create_task(follow.run(database_url, asked, writing))
        try:
            async with asyncio.timeout(60):
                for number in range(1, 3):
                    # The note on the range, then two for each time.
                    while notes.getvalue().count("\n") < 2 * number - 1:
                        await asyncio.sleep(0.02)
                    # Until it hits: the connection that follows may be yet to be opened.
                    while notes.getvalue().count("\n") < 2 * number:
                        await owner.execute(
                            "select pg_terminate_backend(pid) from pg_stat_activity"
                            " where datname = current_database() and pid <> pg_backend_pid()"
                        )
                        await asyncio.sleep(0.02)
                    await commit(owner, [Record(PAY, number, now, f"pay {number}")], now)
                    while out.getvalue().count("\n") <= number:
                        await asyncio.sleep(0.02)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    assert [json.loads(x)["message"] for x in out.getvalue().splitlines()] == [
        f"pay {i}" for i in range(3)
    ]
    told = notes.getvalue().splitlines()[1:]
    assert [("waiting for" in x, "is back" in x) for x in told] == [
        (True, False),
        (False, True),
    ] * 2
