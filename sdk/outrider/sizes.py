"""Sizes: ``200GB``, ``512MiB`` in configuration, ``1.2 GB`` to people.

Units are powers of ten, as disks are sold and as pages and commands show sizes; with an ``i``
(``GiB``) powers of two.
"""

from __future__ import annotations

import re
from typing import Final

_TEN: Final[dict[str, int]] = {
    f"{prefix}B": 1_000**power for power, prefix in enumerate(("", "k", "M", "G", "T"))
}
_TWO: Final[dict[str, int]] = {
    f"{prefix}iB": 1_024**power for power, prefix in enumerate("KMGT", start=1)
}
UNITS_BYTES: Final = {**_TEN, "KB": 1_000, **_TWO}
"""Bytes of each unit."""

_SIZE: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,3}))? ?([kKMGT]?i?B)")


def size_bytes(text: str) -> int:
    """Return the size in bytes.

    Raises ValueError for anything but a number with a unit of UNITS_BYTES.
    """
    found = _SIZE.fullmatch(text)
    unit = UNITS_BYTES.get(found[3]) if found else None
    if found is None or unit is None:
        raise ValueError(f"`{text}` is not a size, write it like 500MB, 200GB or 1.5TB")
    fraction = found[2] or "0"
    return int(found[1]) * unit + int(fraction) * unit // int(10 ** len(fraction))


def said(count: int) -> str:
    """Return bytes as people read them, in powers of ten: ``2.1 MB``."""
    if count < 1_000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1_000
        if value < 999.95 or unit == "TB":
            return f"{value:.1f} {unit}"
    raise AssertionError("the last unit takes any number")


class Size:
    """A size as somebody wrote it, e.g. ``Size("200GB").bytes``. Raises as ``size_bytes``."""

    __slots__ = ("bytes", "text")

    text: str
    bytes: int

    def __init__(self, text: str) -> None:
        self.text = text
        self.bytes = size_bytes(text)

    def __repr__(self) -> str:
        return f"Size({self.text!r})"

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and other.bytes == self.bytes

    def __hash__(self) -> int:
        return hash(self.bytes)
