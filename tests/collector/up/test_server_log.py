"""What of a server's log is shown when it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from outrider_collector.up.postgres import Postgres
from outrider_collector.up.server_log import MOST_CHARACTERS, said

if TYPE_CHECKING:
    from pathlib import Path

FULL = "10:00 [1] PANIC:  could not write to file: No space left on device"
STARTING = "10:01 [9] FATAL:  the database system is starting up"
ROOT = '10:01 [9] FATAL:  role "root" does not exist'
CRASHED = "10:02 [1] LOG:  server process (PID 7) was terminated by signal 6: Aborted"
DOWN = "10:03 [1] LOG:  database system is shut down"


def test_the_cause_comes_first_then_the_last_lines_whole() -> None:
    """What clients were told while it started or ended is no cause."""
    assert said([FULL, STARTING, CRASHED, DOWN]) == f"{FULL}; {CRASHED}; {DOWN}"
    assert said([ROOT, CRASHED, DOWN]) == f"{CRASHED}; {DOWN}"
    assert said([STARTING, CRASHED, DOWN, ""]) == f"{CRASHED}; {DOWN}"
    assert said(["x: FATAL:  bad setting"]) == "x: FATAL:  bad setting"
    assert said([]) == ""


@given(st.lists(st.text(alphabet="ab ", max_size=700), max_size=8))
def test_lines_are_whole_unless_one_alone_is_too_long(lines: list[str]) -> None:
    """Nothing begins in the middle of a word."""
    found = said(lines)
    assert len(found) <= MOST_CHARACTERS + 4
    assert all(part in {line.strip() for line in lines} for part in found.split("; ") if part)


def test_lines_of_an_earlier_start_and_a_cut_one_are_not_shown(tmp_path: Path) -> None:
    """Of a long log the end is read, from the first whole line on."""
    server = Postgres(tmp_path, tmp_path / "run", account=None)
    server.log.write_text("an old FATAL:  cause\n")
    server._log_begin = server.log.stat().st_size
    with server.log.open("a") as log:
        log.write("new words\n")
    assert server.last_words() == "new words"
    with server.log.open("a") as log:
        log.write("x" * 20_000 + " FATAL: \ny\n")
    assert server.last_words() == "y"
