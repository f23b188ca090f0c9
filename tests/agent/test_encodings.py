"""Lines in other encodings than UTF-8: the same text, at the file's own offsets."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC
from typing import TYPE_CHECKING

import pytest

from outrider.configuration import ConfigError
from outrider_agent import configuration, encodings
from outrider_agent.framing import Framer
from outrider_agent.parsing import Parser
from outrider_agent.record_framing import RecordFramer
from outrider_agent.registry import framing
from tests.agent.stepped import connected_host

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", sorted(encodings.KNOWN))
def test_a_newline_is_a_newline_in_all_that_are_known(name: str) -> None:
    """What framing relies on: ASCII is ASCII, and no character swallows a newline."""
    ascii_bytes = bytes(range(128))
    assert encodings.canonical(name) == name
    assert ascii_bytes.decode(name) == ascii_bytes.decode("ascii")
    for first in range(128, 256):
        with suppress(UnicodeDecodeError):
            assert bytes([first, 10]).decode(name).endswith("\n"), first


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("latin-1", "Größe 5 µm"),
        ("shift_jis", "注文 表 能"),
        ("gb18030", "订单 🙂"),
        ("koi8-r", "заказ"),
    ],
)
def test_any_reads_give_the_same_lines(tmp_path: Path, name: str, text: str) -> None:
    """Characters of several bytes that a read cuts in two arrive whole, offsets are the file's."""
    host = connected_host(tmp_path, source=f'encoding = "{name}"\nmultiline = "indented"')
    data = f"{text} 1\n  {text}\n".encode(name) + f"{text} 2\nend\n".encode(name)
    for byte in data:
        host.site.write("a.log", bytes([byte]))
        host.step(0.02)
    host.settle()
    host.crash()
    rows = host.collector.database.rows

    assert [row.message for row in rows] == [f"{text} 1\n  {text}", f"{text} 2", "end"]
    assert [row.offset for row in rows][:2] == [0, len(f"{text} 1\n  {text}\n".encode(name))]
    assert not any("sanitized" in (row.attributes or "") for row in rows)


def test_bytes_of_no_meaning_are_escapes_and_marked() -> None:
    """Nothing is refused: what cp1252 leaves undefined is shown, and the neighbour is clean."""
    lines = Framer(0).feed(b"a \x81 b\nc \xe9\n")
    records = Parser("plain", UTC, "cp1252").parse(lines, 1)

    assert records.message == [rb"a \x81 b", "c é".encode()]
    assert [b"sanitized" in (a or b"") for a in records.attributes] == [True, False]


def test_a_line_that_grows_beyond_the_limit_is_cut_and_marked() -> None:
    """UTF-8 may take more bytes than the file's own encoding."""
    lines = Framer(0).feed(b"\xe9" * 200_000 + b"\n")
    records = Parser("plain", UTC, "latin-1").parse(lines, 1)

    assert records.message[0] == "é".encode() * 131_072
    assert b'"original_bytes":200000' in (records.attributes[0] or b"")


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    """A JSON line after it is read as JSON; in a later line it is text."""
    lines = Framer(0).feed(b'\xef\xbb\xbf{"message":"m"}\n\xef\xbb\xbfx\n')
    records = Parser("auto", UTC).parse(lines, 1)

    assert records.message == [b"m", b"\xef\xbb\xbfx"]
    assert records.stream_offset == [0, 19]


@pytest.mark.parametrize("name", ["utf-32", "utf-7", "base64", "unicode_escape", "klingon"])
def test_what_cannot_be_framed_is_refused_in_words(tmp_path: Path, name: str) -> None:
    """The mistake is named with its place and what to write instead."""
    path = tmp_path / "outrider.toml"
    path.write_text(f'[[agent.source]]\npaths = ["/x/*"]\nservice = "s"\nencoding = "{name}"\n')
    with pytest.raises(ConfigError) as raised:
        configuration.load(path, {})

    assert name in raised.value.what
    assert "encoding" in raised.value.where


def test_records_of_several_lines_are_judged_by_their_text() -> None:
    """A pattern is of characters, not of the bytes that stand for them."""
    source = configuration.SourceConfig(
        paths=(os.devnull,), service="s", encoding="latin-1", multiline="^é"
    )
    framer = framing(source, "iso8859-1")(0, b"")
    assert isinstance(framer, RecordFramer)

    assert framer.feed("é 1\nmore\né 2\n".encode("latin-1")).lines == [b"\xe9 1\nmore"]


@pytest.mark.parametrize("line", ["hello wonderful world\n", "hello wonderful worlds\n"])
def test_utf_8_within_utf_16_is_read_and_marked(line: str) -> None:
    """Of an even or odd number of bytes: it is no Chinese, and what follows it is read on."""
    mixed = (line + line).encode() + "Größe 5 µm".encode("utf-16-le")

    assert encodings.decoded(mixed, "utf-16-le") == ((line + line + "Größe 5 µm").encode(), False)
    chinese = "订单能源服务器启动失败请检查日志"
    assert encodings.decoded(chinese.encode("utf-16-le"), "utf-16-le") == (chinese.encode(), True)
