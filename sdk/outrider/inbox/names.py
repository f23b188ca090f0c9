"""What the files of an inbox are called: ``{service}~{worker}~{unique}.jsonl``, and ``.slot``.

Service and worker are letters, digits, dot, dash and underscore; any other byte of their UTF-8 is
``%XX``, as is a dot at the beginning, so that no name hides a file or leaves the directory. Each is
at most 100 bytes long when written so; a longer one is cut and ends in a hash of the whole.
``unique`` is 16 random hexadecimal digits.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SEGMENT_SUFFIX = ".jsonl"
SLOT_SUFFIX = ".slot"

MAX_PART_BYTES = 100

_UNSAFE = re.compile(rb"[^A-Za-z0-9._-]|^\.")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_NAME = re.compile(r"([A-Za-z0-9._%-]+)~([A-Za-z0-9._%-]+)~([0-9a-f]{16})\.jsonl")


class SegmentName(NamedTuple):
    """The parts of a segment's file name."""

    service: str
    worker: str
    unique: str

    @property
    def filename(self) -> str:
        """The name of the segment's file in the inbox."""
        return f"{_encode(self.service)}~{_encode(self.worker)}~{self.unique}{SEGMENT_SUFFIX}"


def parse(filename: str) -> SegmentName | None:
    """Return the parts of a segment's file name, or None for any other file."""
    match = _NAME.fullmatch(filename)
    if match is None:
        return None
    return SegmentName(_decode(match[1]), _decode(match[2]), match[3])


def slot_filename(segment_filename: str) -> str:
    """Return the name of the slot beside a segment."""
    return segment_filename.removesuffix(SEGMENT_SUFFIX) + SLOT_SUFFIX


def normal(name: str) -> str:
    """Return the name that a file name will give back: the name itself unless it is too long."""
    return _decode(_encode(name))


def _encode(name: str) -> str:
    raw = (name or "unnamed").encode("utf-8", "backslashreplace")
    encoded = _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], raw).decode()
    if len(encoded) <= MAX_PART_BYTES:
        return encoded
    import hashlib  # noqa: PLC0415  workers pay for it only with a very long name

    digest = hashlib.sha256(raw).hexdigest()[:12]
    cut = encoded[: MAX_PART_BYTES - 13]
    # Not in the middle of an escape.
    return f"{re.sub(r'%.?$', '', cut)}-{digest}"


def _decode(encoded: str) -> str:
    raw = _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), encoded.encode())
    return raw.decode("utf-8", "replace")
