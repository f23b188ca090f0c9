"""UTF-16: lines of characters of two bytes, at the file's own offsets."""

from __future__ import annotations

import codecs
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider_agent import check, configuration
from outrider_agent.configuration import SourceConfig
from outrider_agent.parsing import Parser
from outrider_agent.start import start_offset
from outrider_agent.wide_framing import WideFramer
from tests.agent.fake_collector import FakeCollector
from tests.agent.harness import Site
from tests.agent.stepped import connected_host

if TYPE_CHECKING:
    from pathlib import Path

LIMIT = 24
# Characters with the bytes of a newline within them, and one of two times two bytes.
NASTY = "aਊĊ਍\r\n🙂"
LE, BE = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE
ENCODINGS = {False: "utf-16-le", True: "utf-16-be"}


def by_definition(data: bytes, name: str) -> tuple[list[tuple[int, bytes]], int]:
    """Lines with their offsets, cut as they must be, and where the last one ends."""
    lines: list[tuple[int, bytes]] = []
    begin = 0
    while True:
        newline = next(
            (i for i in range(begin, len(data) - 1, 2) if data[i : i + 2] == "\n".encode(name)),
            None,
        )
        if newline is None:
            return lines, begin
        line = data[begin:newline]
        if len(line) > LIMIT:
            line = line[:LIMIT]
            if line.decode(name, "surrogatepass")[-1:] in map(chr, range(0xD800, 0xDC00)):
                line = line[:-2]
        elif line.endswith("\r".encode(name)):
            line = line[:-2]
        if line:
            lines.append((begin, line))
        begin = newline + 2


@given(
    text=st.text(alphabet=NASTY, max_size=60),
    sizes=st.lists(st.integers(1, 30), min_size=1),
    most=st.integers(1, 5),
    big_endian=st.booleans(),
    odd=st.binary(max_size=1),
)
def test_any_reads_give_the_same_lines(
    text: str, sizes: list[int], most: int, big_endian: bool, odd: bytes
) -> None:
    """However a file is cut into reads, also within a character; half a character waits."""
    name = ENCODINGS[big_endian]
    data = text.encode(name) + odd
    framer = WideFramer(0, big_endian=big_endian, max_line_bytes=LIMIT)
    got: list[tuple[int, bytes]] = []
    turn, more = 0, False
    while framer.next < len(data) - len(odd) or more:
        # A line that is not too long is read again with what follows.
        size = sizes[turn % len(sizes)] + (turn // len(sizes)) * 2
        turn += 1
        lines = framer.feed(data[framer.next : framer.next + size], most)
        got += zip(lines.starts, lines.lines, strict=True)
        more = lines.more
        if turn > 400:
            break
    expected, end = by_definition(data, name)

    assert got == expected
    assert framer.end == end


@pytest.mark.parametrize(
    ("configured", "name", "mark"),
    [
        ("utf-8", "utf-16-le", LE),
        ("utf-8", "utf-16-be", BE),
        ("utf-16", "utf-16-be", BE),
        ("utf-16", "utf-16-le", b""),
        ("utf-16-be", "utf-16-be", b""),
        ("utf-16", "utf-8", codecs.BOM_UTF8),
    ],
)
def test_a_file_arrives_whole_over_restarts(
    tmp_path: Path, configured: str, name: str, mark: bytes
) -> None:
    """Written byte by byte; its mark decides, where the source names no other encoding."""
    host = connected_host(tmp_path, source=f'encoding = "{configured}"\nmultiline = "indented"')
    first = f"2026-11-24T20:02:31Z ERROR {NASTY[:4]}🙂\r\n  more\r\n".encode(name)
    second = '{"message":"json"}\nend\n'.encode(name)
    for number, byte in enumerate(mark + first + second):
        host.site.write("a.log", bytes([byte]))
        host.step(0.02)
        if number % 40 == 39:
            host.crash()
            host.start()
            host.connect()
    host.settle()
    host.crash()
    rows = host.collector.database.rows

    assert [row.message for row in rows] == [f"{NASTY[:4]}🙂\n  more", "json", "end"]
    assert rows[0].severity == 17
    json = len(mark + first)
    assert [row.offset for row in rows] == [
        0,
        json,
        json + len('{"message":"json"}\n'.encode(name)),
    ]
    assert not any("sanitized" in (row.attributes or "") for row in rows)


@pytest.mark.usefixtures("leases")
def test_half_a_character_at_the_end_is_kept_and_marked(tmp_path: Path) -> None:
    """A file that was cut off within a character ends with all of its bytes."""
    host = connected_host(tmp_path)
    path = host.site.write("a.log", LE + "one\ntwo".encode("utf-16-le") + b"\x41")
    host.settle()
    path.unlink()
    host.settle()
    host.crash()
    rows = host.collector.database.rows
    (stored,) = host.collector.database.streams.values()

    assert [row.message for row in rows] == ["one", "two\\x41"]
    assert "outrider.partial" in (rows[1].attributes or "")
    assert "outrider.sanitized" in (rows[1].attributes or "")
    assert stored.committed == 2 + 15 + 1


def test_a_file_that_goes_on_in_another_encoding_is_marked() -> None:
    """Nothing stops and nothing is silent, whichever of the two came first."""
    parser = Parser("plain", UTC, "utf-16-le")
    data = "wide\n".encode("utf-16-le") + b"a line in UTF-8\n" * 3
    lines = WideFramer(0, big_endian=False).feed(data + b"\n\0")
    wide = parser.parse(lines, 1)
    narrow = Parser("plain", UTC).parse(
        replace(lines, lines=["wide".encode("utf-16-le")], starts=[10]), 1
    )

    assert wide.message == [b"wide", b"a line in UTF-8\n" * 3]
    assert [b"sanitized" in (a or b"") for a in wide.attributes] == [False, True]
    assert narrow.message == [rb"w\x00i\x00d\x00e\x00"]
    assert b"sanitized" in (narrow.attributes[0] or b"")


def test_lone_surrogates_are_escapes_and_marked() -> None:
    """Postgres takes none; the neighbours are clean."""
    data = "a\n".encode("utf-16-le") + b"x\0\x00\xd8\n\0" + "b\n".encode("utf-16-le")
    records = Parser("plain", UTC, "utf-16-le").parse(WideFramer(0, big_endian=False).feed(data), 1)

    assert records.message == [b"a", rb"x\x00\xd8", b"b"]
    assert [b"sanitized" in (a or b"") for a in records.attributes] == [False, True, False]


@pytest.mark.parametrize("name", ENCODINGS.values())
def test_a_start_is_sought_in_characters(tmp_path: Path, name: str) -> None:
    """`end` and an age begin at a line, though its newline's bytes are also within characters."""
    now = datetime(2026, 11, 24, 20, 0, tzinfo=UTC)
    lines = [
        f"{(now - timedelta(minutes=300 - n)).isoformat()} INFO Ċ{n} {'਍' * 300}\n"
        for n in range(300)
    ]
    path = tmp_path / "a.log"
    path.write_bytes((BE if name == "utf-16-be" else LE) + "".join(lines).encode(name) + b"\0")
    os.utime(path, (now.timestamp(), now.timestamp()))
    fd = os.open(path, os.O_RDONLY)
    source = SourceConfig(paths=("/x",), service="s", start="1h")
    hour = start_offset(fd, source, now.timestamp())
    end = start_offset(fd, msgspec.structs.replace(source, start="end"), now.timestamp())
    os.close(fd)
    content = path.read_bytes()

    assert end == len(content) - 1
    first = content[hour : hour + 200].decode(name, "ignore")
    assert first.startswith("2026-11-24T1") and "18:00" < first[11:16] <= "19:00"


def test_check_names_utf_16_without_a_mark(tmp_path: Path) -> None:
    """What would be read as text full of NUL is a problem, with the line to be written."""
    collector = FakeCollector()
    collector.port = 1
    site = Site(tmp_path, collector)
    site.write("a.log", "no mark here\n".encode("utf-16-le"))
    site.write("b.log", LE + "2026-11-24T20:02:31Z INFO a mark\n".encode("utf-16-le"))
    said: list[str] = []
    found = check.run(configuration.load(site.config_file, {}), said.append)
    text = "".join(said)

    assert found == 3
    assert 'a.log: it looks like UTF-16, and is read as UTF-8: set `encoding = "utf-16-le"`' in text
    assert "b.log: 68 bytes, iso, utf-16-le" in text
