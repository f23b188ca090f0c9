"""Records of several lines: the same from any reading, never split by load, continued if closed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider_agent import multiline
from outrider_agent.disk import QUIET_S
from outrider_agent.framing import Framer
from outrider_agent.record_framing import RecordFramer
from tests.agent.harness import Site

if TYPE_CHECKING:
    from pathlib import Path

    from tests.agent.fake_collector import FakeCollector

LIMIT = 40
LINES = [
    b"2026-11-24 ERROR failed", b"INFO fine", b"  indented", b"\ttabbed", b"", b"\r",
    b"Traceback (most recent call last):", b'  File "a.py", line 1', b"ValueError: no",
    b"During handling of the above exception, another exception occurred:",
    b"java.lang.IllegalStateException: no", b"Caused by: java.io.IOException", b"panic: no",
    b"goroutine 1 [running]:", b"main.main()", b'{"message":"json"}', b"x" * 60, b"  " + b"y" * 50,
]  # fmt: skip
content = st.lists(st.sampled_from(LINES), max_size=25).map(
    lambda lines: b"".join(line + b"\n" for line in lines)
)
rules = st.sampled_from(["auto", "indented", "^[A-Z0-9]"])


def framer(rule: str, begin: int = 0, state: bytes = b"") -> RecordFramer:
    """A framer with limits that small inputs reach."""
    made = multiline.rule(rule)
    assert made is not None
    return RecordFramer(Framer(begin, LIMIT), made, state, max_record_bytes=LIMIT)


def read(
    data: bytes, rule: str, sizes: list[int], begin: int = 0, state: bytes = b"", most: int = 99
) -> tuple[list[tuple[int, bytes, int | None, int | None]], RecordFramer]:
    """Read like a tail does, then close what is held."""
    made, found, step, end = framer(rule, begin, state), [], 0, begin
    while True:
        # A record, the beginning of a line that is too long for it, and a byte of progress.
        size = 2 * LIMIT + 3 + sizes[step % len(sizes)]
        step += 1
        end = min(len(data), made.next + size)
        lines = made.feed(data[made.next : end], most)
        for i, line in enumerate(lines.lines):
            found.append((lines.starts[i], line, lines.cut.get(i), lines.continued.get(i)))
        if end == len(data) and not lines.more:
            break
    lines = made.flush(data[made.next :])
    for i, line in enumerate(lines.lines):
        found.append((lines.starts[i], line, lines.cut.get(i), lines.continued.get(i)))
    return found, made


@given(content, rules, st.lists(st.integers(0, 60), min_size=1, max_size=6), st.integers(1, 4))
def test_any_chunking_gives_the_same_records(
    data: bytes, rule: str, sizes: list[int], most: int
) -> None:
    """However a file is cut into reads, records, offsets, cuts and continuations are the same."""
    whole, _ = read(data, rule, [1000])

    assert read(data, rule, sizes)[0] == whole
    assert read(data, rule, sizes, most=most)[0] == whole


@given(content, rules, st.integers(0, 1000))
def test_reading_goes_on_the_same_at_any_end_of_a_record(data: bytes, rule: str, at: int) -> None:
    """From any committed offset with its state, the rest is framed as it would have been."""
    made, ends = framer(rule), [(0, b"")]
    while True:
        begin = made.next
        lines = made.feed(data[begin:], 1)
        ends.append((made.end, made.state))
        if not lines.more:
            break
    end, state = ends[at % len(ends)]
    whole, _ = read(data, rule, [1000])
    rest, _ = read(data, rule, [7], begin=end, state=state)

    assert rest == [one for one in whole if one[0] >= end]


@given(content, content, rules)
def test_what_a_timer_closed_is_continued_and_nothing_is_lost(
    first: bytes, second: bytes, rule: str
) -> None:
    """Closed early and read on after a restart: the lines are all there, and where they belong."""
    made = framer(rule)
    lines = made.feed(first, closing=True)
    assert not made.holds
    rest, _ = read(first + second, rule, [1000], begin=made.end, state=made.state)
    whole, _ = read(first + second, rule, [1000])

    def text(records: list[bytes]) -> list[bytes]:
        return [line for record in records for line in record.split(b"\n") if line.strip(b"\r")]

    assert text([*lines.lines, *(one[1] for one in rest)]) == text([one[1] for one in whole])
    begun = {one[0] for one in whole if one[3] is None}
    assert {one[3] for one in rest if one[3] is not None} <= begun
    assert {one[0] for one in rest if one[3] is None} <= begun


TRACEBACK = """\
2026-11-24 20:02:31,123 - pay - ERROR - charge failed
Traceback (most recent call last):
  File "/app/pay.py", line 7, in charge
    raise KeyError("card")
KeyError: 'card'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/pay.py", line 9, in charge
    raise ValueError("no card") from None
ValueError: no card
"""
JAVA = """\
2026-11-24 20:02:31,123 [main] ERROR com.example.Charge - charge failed
java.lang.IllegalStateException: no card
\tat com.example.Charge.run(Charge.java:42)
\t... 12 more
Caused by: java.io.IOException: closed
\tat com.example.Card.read(Card.java:7)
"""
GO = """\
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x45e1a0]

goroutine 1 [running]:
main.(*Card).Read(0x0, {0xc000012345, 0x7})
\t/app/card.go:7 +0x1d
main.main()
\t/app/main.go:3 +0x2a
exit status 2
"""


@pytest.mark.parametrize("crash", [TRACEBACK, JAVA, GO], ids=["python", "java", "go"])
def test_a_crash_is_one_record_between_its_neighbours(crash: str) -> None:
    """What a runtime writes when something fails is one record, whole; the lines around are not."""
    rule = multiline.rule("auto")
    assert rule is not None
    made = RecordFramer(Framer(0), rule)
    data = f"INFO before\n{crash}INFO after\n".encode()
    lines = made.feed(data, closing=True)

    assert [line.decode() for line in lines.lines] == ["INFO before", crash[:-1], "INFO after"]


@pytest.mark.parametrize("name", ["^(?=a)", "^(", "sometimes", ""])
def test_a_rule_that_is_none_is_refused_in_words(name: str) -> None:
    """What RE2 does not know, or is no word, is a mistake that can be shown as it is."""
    with pytest.raises(ValueError) as raised:
        multiline.rule(name)

    assert "b'" not in str(raised.value)


async def test_a_long_traceback_under_load_is_one_record(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """500 lines written one by one, flush after flush in between, are one record with its head."""
    collector.settings.flush_interval_ms = 1
    site = Site(tmp_path, collector, source='multiline = "auto"')
    frames = "".join(f'  File "a.py", line {n}, in f\n    f({n})\n' for n in range(250))
    head = "2026-11-24 20:02:31,123 - pay - ERROR - failed\nTraceback (most recent call last):\n"
    async with site.agent():
        await collector.until(lambda: bool(collector.hellos))
        for line in (head + frames + "RecursionError: deep\n").splitlines(keepends=True):
            site.write("a.log", line)
            site.write("b.log", "2026-11-24 20:02:31,123 - pay - INFO - other\n")
            await asyncio.sleep(0.002)
        await collector.until_rows(504)

    (row,) = [row for row in collector.database.rows if "Traceback" in (row.message or "")]
    assert row.message is not None
    assert row.message.count("\n") == 502
    assert row.severity == 17
    assert row.message.endswith("RecursionError: deep")


async def test_the_last_record_of_a_quiet_file_waits_for_no_other(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """It arrives when its writer has been quiet; the watermark does not pass it before."""
    site = Site(tmp_path, collector, source='multiline = "indented"')
    async with site.agent():
        await collector.until(lambda: bool(collector.hellos))
        site.write("a.log", "one\n  more\n")
        await collector.until(lambda: bool(collector.database.rows), timeout_s=QUIET_S + 5)

    assert collector.database.messages() == ["one\n  more"]


async def test_what_comes_after_a_pause_and_a_restart_is_marked_as_continued(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """A traceback that stalls for longer than anybody waits goes on as a marked record."""
    site = Site(tmp_path, collector, source='multiline = "auto"')
    site.write("a.log", "ERROR no\nTraceback (most recent call last):\n  File 1\n")
    async with site.agent():
        await collector.until_rows(1)
        # A watermark alone does not forget what framing must know.
        before = len(collector.batches)
        await collector.until(
            lambda: any(
                batch.begin == batch.end and batch.begin for batch in collector.batches[before:]
            )
        )
    site.write("a.log", "KeyError: 'x'\nINFO next\n")
    async with site.agent():
        await collector.until_rows(3)

    _, continued, after = collector.database.rows
    assert continued.message == "KeyError: 'x'"
    assert json.loads(continued.attributes or "{}")["outrider.continued"] == {"offset": 0}
    assert after.message == "INFO next"
    assert "continued" not in (after.attributes or "")


async def test_a_record_that_was_held_at_a_stop_is_read_again_whole(
    tmp_path: Path, collector: FakeCollector
) -> None:
    """An agent that stops within a record sends nothing of it; the next one sends all."""
    site = Site(tmp_path, collector, source='multiline = "^\\\\d{4}-"')
    async with site.agent():
        await collector.until(lambda: bool(collector.hellos))
        site.write("a.log", "2026-11-24 one\nmore\n2026-11-24 two\n")
        await collector.until(lambda: len(collector.database.rows) >= 1)
    site.write("a.log", "more of two\n2026-11-24 three\n")
    async with site.agent():
        await collector.until(
            lambda: "2026-11-24 three" in collector.database.messages(), timeout_s=QUIET_S + 10
        )

    assert collector.database.messages()[0] == "2026-11-24 one\nmore"
    assert "more of two" in str(collector.database.messages()[1:3])


async def test_a_deleted_file_ends_with_its_last_record(
    tmp_path: Path, collector: FakeCollector, leases: None
) -> None:
    """A file that can grow no more gives its last record out whole, unmarked if it was finished."""
    site = Site(tmp_path, collector, source='multiline = "indented"')
    path = site.write("a.log", "one\n  more\n")
    async with site.agent():
        await collector.until(
            lambda: any(s.info.service == "bots" for s in collector.database.streams.values())
        )
        path.unlink()
        await collector.until(lambda: bool(collector.database.rows), timeout_s=20)

    (row,) = collector.database.rows
    assert row.message == "one\n  more"
    assert "outrider.partial" not in (row.attributes or "")
