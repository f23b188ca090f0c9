"""Framing is a function of bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outrider_agent.framing import Framer, cut

LIMIT = 8
content = st.lists(
    st.one_of(
        st.sampled_from([b"\n", b"\r\n", b"\r", b"\0", bytes(30), b"\xff", "é".encode()]),
        st.binary(max_size=12),
    ),
    max_size=30,
).map(b"".join)


def read_in_chunks(
    data: bytes, sizes: list[int], most: int = 1 << 30
) -> tuple[list[tuple[int, bytes, int | None]], int]:
    """Read like a tail does: each time from where the framer wants to go on."""
    framer = Framer(0, LIMIT)
    found: list[tuple[int, bytes, int | None]] = []
    step = 0
    end = 0
    while True:
        # At least one byte more than a line may have, as a tail's chunk is.
        size = LIMIT + 1 + sizes[step % len(sizes)]
        step += 1
        end = min(len(data), framer.next + size)
        lines = framer.feed(data[framer.next : end], most)
        for i, line in enumerate(lines.lines):
            found.append((lines.starts[i], line, lines.cut.get(i)))
        if end == len(data) and not lines.more:
            return found, framer.end


def by_definition(data: bytes) -> list[tuple[int, bytes, int | None]]:
    """The same, written for reading rather than for speed."""
    found: list[tuple[int, bytes, int | None]] = []
    start = 0
    for whole in data.split(b"\n")[:-1]:
        raw = whole.lstrip(b"\0")
        hole = len(whole) - len(raw)
        if len(raw) > LIMIT:
            found.append((start + hole, cut(raw, LIMIT), len(raw)))
        else:
            line = raw.removesuffix(b"\r")
            if line:
                found.append((start + hole, line, None))
        start += len(whole) + 1
    return found


@given(content, st.lists(st.integers(0, 20), min_size=1, max_size=8), st.integers(1, 5))
def test_any_chunking_gives_the_same_lines(data: bytes, sizes: list[int], most: int) -> None:
    """However a file is cut into reads, lines, offsets and cuts are those of its bytes."""
    expected = by_definition(data)

    assert read_in_chunks(data, sizes)[0] == expected
    assert read_in_chunks(data, sizes, most)[0] == expected


@given(content, st.integers(0, 10_000))
def test_reading_can_begin_again_at_any_line_start(data: bytes, choice: int) -> None:
    """After a restart at a committed offset the rest is framed as it would have been."""
    whole, end = read_in_chunks(data, [5])
    starts = [0, *(i + 1 for i, byte in enumerate(data) if byte == 10)]
    begin = starts[choice % len(starts)]
    framer = Framer(begin, 1 << 20)
    framer.feed(data[begin:])

    assert framer.end == end
    rest, _ = read_in_chunks(data[begin:], [3])
    assert [line for offset, line, _ in whole if offset >= begin] == [line for _, line, _ in rest]


def test_a_hole_of_any_size_is_passed_over() -> None:
    """What a writer that does not append leaves when its file is truncated is part of no line."""
    framer = Framer(0, LIMIT)
    assert framer.feed(b"a\n" + bytes(1000)).lines == [b"a"]
    assert framer.feed(bytes(1000)).lines == []
    lines = framer.feed(bytes(7) + b"b\nc")

    assert (lines.lines, lines.starts, lines.cut) == ([b"b"], [2 + 2007], {})
    assert framer.end == 2 + 2007 + 2


def test_a_partial_line_waits() -> None:
    """Bytes after the last newline are given out only when their newline comes."""
    framer = Framer(100)

    assert framer.feed(b"one\ntw").lines == [b"one"]
    assert framer.next == framer.end == 104
    assert framer.feed(b"two\n").starts == [104]


def test_the_last_line_of_a_dead_file_is_given_out() -> None:
    """A file that cannot grow any more ends with its last line, newline or not."""
    framer = Framer(0)
    framer.feed(b"one\nlast")

    assert framer.flush(b"last").lines == [b"last"]
    assert framer.end == 8


def test_an_endless_line_holds_only_its_head() -> None:
    """A line that never ends is skipped over, and is one marked record when it does end."""
    framer = Framer(0, LIMIT)
    for _ in range(100):
        assert framer.feed(b"x" * 50).lines == []
    lines = framer.feed(b"yy\nnext\n")

    assert lines.lines == [b"x" * LIMIT, b"next"]
    assert lines.cut == {0: 5002}
    assert lines.starts == [0, 5003]


@given(st.text(max_size=20), st.integers(1, 30))
def test_a_cut_never_splits_a_character(text: str, limit: int) -> None:
    """What is left of a UTF-8 line after a cut is UTF-8 unless the limit is below a character."""
    raw = text.encode()
    short = cut(raw, limit)

    assert len(short) <= limit
    assert raw.startswith(short)
    if limit >= 4:
        short.decode()
