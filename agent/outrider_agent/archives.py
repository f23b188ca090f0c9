"""Compressed files, read in pieces: what rotation made of a file that was not delivered yet.

gzip, bzip2, xz and zstd, told by their first bytes; any number of members one after the other, as
``cat a.gz b.gz`` makes them. However far a few bytes expand, a piece is at most :data:`PIECE_BYTES`
(of zstd a little more), and a header that asks for a dictionary larger than 128 MiB is refused.
"""

from __future__ import annotations

import bz2
import lzma
import os
import zlib
from typing import TYPE_CHECKING, Protocol

from outrider_agent.discovery import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable

PIECE_BYTES = 256 * 1024
"""At most so many bytes come out at once."""

READABLE = (".gz", ".bz2", ".xz", ".zst")
"""How names of such files end."""

_INPUT_BYTES = 64 * 1024
_MOST_MEMORY_BYTES = 128 << 20
# A block of zstd is at least three bytes and becomes at most 128 KiB: so many at once are 11 MiB.
_ZSTD_STEP_BYTES = 256
_MAGIC_BYTES = 6
_MOST_SILENT_BYTES = 1 << 20
"""So much gives nothing at most, padding and empty members; a block of bzip2 may be nearly that."""


class Damaged(Exception):  # noqa: N818  it says what the file is
    """What was compressed cannot be read on; the message says why."""


class _Decoder(Protocol):
    """One member, in the manner of the standard library."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class Archive:
    """A compressed file, read from its beginning on. Raises OSError; Damaged where it is none."""

    def __init__(self, path: str) -> None:
        fd, self.status = open_regular(path, follow_links=False)
        self._file = os.fdopen(fd, "rb", buffering=0)
        self._decoder: _Decoder | None = None
        self._ahead = b""
        """Read from the file, and of no member yet."""
        self._silent_bytes = 0
        """Read from the file since anything came out."""

    def read(self) -> bytes | None:
        """Return the next bytes, empty where a piece of the file gave nothing; None at the end.

        Raises Damaged, OSError.
        """
        if self._decoder is None:
            self._ahead = self._ahead.lstrip(b"\0")  # zeros between members are padding
            if len(self._ahead) < _MAGIC_BYTES and (more := self._next_input()):
                self._ahead += more
                return b""
            if not self._ahead:
                return None
            self._decoder = _member(self._ahead)
        decoder, data, is_short = self._decoder, b"", False
        if decoder.needs_input:
            data, self._ahead = self._ahead or self._next_input(), b""
            is_short = not data
        piece = _decompressed(decoder, data)
        if decoder.eof:
            self._decoder, self._ahead = None, decoder.unused_data
        elif is_short and not piece:
            raise Damaged("it ends before its content does")
        if piece:
            self._silent_bytes = 0
        return piece

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _next_input(self) -> bytes:
        if self._silent_bytes > _MOST_SILENT_BYTES:
            raise Damaged(f"more than {_MOST_SILENT_BYTES} bytes of it are nothing but padding")
        data = self._file.read(_INPUT_BYTES)
        self._silent_bytes += len(data)
        return data


def _member(data: bytes) -> _Decoder:
    """Begin with what follows."""
    for magic, make in _KINDS:
        if data.startswith(magic):
            return make()
    raise Damaged("it has bytes that are not compressed")


class _Gzip:
    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._member.eof

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._member.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._member.decompress(self._member.unconsumed_tail + data, max_length)


class _Zstd:
    def __init__(self) -> None:
        import zstandard  # noqa: PLC0415  few agents ever need it here

        made = zstandard.ZstdDecompressor(max_window_size=_MOST_MEMORY_BYTES)
        self._member, self._error = made.decompressobj(), zstandard.ZstdError
        self._input = b""

    @property
    def eof(self) -> bool:
        return bool(self._member.eof)

    @property
    def unused_data(self) -> bytes:
        return self._member.unused_data + self._input

    @property
    def needs_input(self) -> bool:
        return not self._input

    def decompress(self, data: bytes, max_length: int) -> bytes:
        self._input += data
        pieces: list[bytes] = []
        size = position = 0
        try:
            while size < max_length and position < len(self._input) and not self._member.eof:
                step = self._input[position : position + _ZSTD_STEP_BYTES]
                position += len(step)
                pieces.append(self._member.decompress(step))
                size += len(pieces[-1])
        except self._error as error:
            raise Damaged(str(error)) from None
        self._input = self._input[position:]
        return b"".join(pieces)


def _decompressed(decoder: _Decoder, data: bytes) -> bytes:
    try:
        return decoder.decompress(data, PIECE_BYTES)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, MemoryError) as error:
        # bz2 calls bad data an OSError.
        raise Damaged(str(error) or type(error).__name__) from None


_KINDS: tuple[tuple[bytes, Callable[[], _Decoder]], ...] = (
    (b"\x1f\x8b", _Gzip),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MOST_MEMORY_BYTES)),
    (b"\x28\xb5\x2f\xfd", _Zstd),
)
