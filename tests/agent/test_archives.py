"""Compressed files: every member, in bounded pieces, and what is damaged says so."""

from __future__ import annotations

import bz2
import gzip
import lzma
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
        return [*iter(archive.read, b"")]
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
        got.extend(iter(archive.read, b""))
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
def test_changed_bytes_are_noticed(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """By the checks of the format, at the latest at its end."""
    data = bytearray(compress(TEXT))
    data[len(data) // 2] ^= 0xFF
    path = tmp_path / "a"
    path.write_bytes(data)
    with pytest.raises(Damaged):
        pieces(path)
