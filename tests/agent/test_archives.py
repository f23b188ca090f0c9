"""Compressed files: every member, in bounded pieces, and what is damaged says so."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from typing import TYPE_CHECKING

import pytest
import zstandard

from outrider_agent.archives import PIECE_BYTES, Archive, Damaged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KINDS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}
TEXT = b"".join(b"line %d of a file\n" % n for n in range(40_000))


each_kind = pytest.mark.parametrize("compress", KINDS.values(), ids=KINDS)


def pieces(path: Path) -> list[bytes]:
    """All that an archive gives out."""
    archive = Archive(str(path))
    try:
        return [piece for piece in iter(archive.read, None) if piece]
    finally:
        archive.close()


@each_kind
def test_members_one_after_the_other_are_one_file(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    """Also an empty member, and zeros at the end, as tapes and block devices leave them."""
    path = tmp_path / "a"
    path.write_bytes(compress(TEXT) + compress(b"") + compress(b"more\n") + bytes(4096))

    assert b"".join(pieces(path)) == TEXT + b"more\n"


def test_an_empty_file_has_nothing(tmp_path: Path) -> None:
    """No member is no error."""
    path = tmp_path / "a"
    path.touch()

    assert pieces(path) == []


@each_kind
def test_a_bomb_comes_out_in_small_pieces(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    """16 MiB of zeros are a few kilobytes on the disk, and never many bytes in memory."""
    path = tmp_path / "a"
    path.write_bytes(compress(bytes(16 << 20)))
    sizes = [len(piece) for piece in pieces(path)]

    assert path.stat().st_size < 100_000
    assert sum(sizes) == 16 << 20
    assert max(sizes) <= PIECE_BYTES + (12 << 20)


@each_kind
@pytest.mark.parametrize("missing", [1, 10, 1000])
def test_what_is_cut_off_is_damaged_at_its_end(
    tmp_path: Path, compress: Callable[[bytes], bytes], missing: int
) -> None:
    """What comes before the damage is given out."""
    path = tmp_path / "a"
    path.write_bytes(compress(TEXT)[:-missing])
    archive = Archive(str(path))
    got: list[bytes] = []
    with pytest.raises(Damaged):
        got.extend(piece for piece in iter(archive.read, None) if piece)
    archive.close()

    assert TEXT.startswith(b"".join(got))


@pytest.mark.parametrize("content", [b"plain text\n", b"\x1f\x8b\x08broken header", b"BZh9nothing"])
def test_what_is_not_compressed_is_damaged(tmp_path: Path, content: bytes) -> None:
    """A name says nothing; neither do bytes after a member that are none."""
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(Damaged):
        pieces(path)
    path.write_bytes(gzip.compress(b"x\n") + content)
    with pytest.raises(Damaged):
        pieces(path)


@each_kind
@pytest.mark.parametrize("nothing", ["zeros", "empty members"])
def test_what_gives_nothing_has_a_limit(
    tmp_path: Path, compress: Callable[[bytes], bytes], nothing: str
) -> None:
    """A hole of a gigabyte is told after a megabyte, in reads of which each takes one piece."""
    path, empty = tmp_path / "a", compress(b"")
    content = compress(TEXT) + (b"" if nothing == "zeros" else empty * ((3 << 20) // len(empty)))
    path.write_bytes(content)
    if nothing == "zeros":
        os.truncate(path, 1 << 30)
    archive, got, at = Archive(str(path)), [b""], [0]

    def read() -> bytes | None:
        piece = archive.read()
        at.append(archive._file.tell())
        return piece

    with pytest.raises(Damaged):
        got.extend(iter(read, None))
    archive.close()

    assert b"".join(got) == TEXT
    assert max(map(int.__sub__, at[1:], at)) <= 64 << 10
    assert at[-1] <= len(compress(TEXT)) + (1 << 20) + (128 << 10)


def test_a_block_that_is_as_large_as_may_be_is_no_padding(tmp_path: Path) -> None:
    """bzip2 gives nothing before it has read a block of up to 900,000 bytes."""
    path, content = tmp_path / "a", os.urandom(3_000_000)
    path.write_bytes(bz2.compress(content))

    assert b"".join(pieces(path)) == content


@each_kind
def test_changed_bytes_are_noticed(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """By the checks of the format, at the latest at its end."""
    data = bytearray(compress(TEXT))
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "a"
    path.write_bytes(data)
    with pytest.raises(Damaged):
        pieces(path)
