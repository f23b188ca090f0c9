"""Freed memory is kept for the next block instead of going back to the kernel.

A block's columns and what is computed from them are arrays of some hundred kilobytes. The C library
returns each of these to the kernel when it is freed, and gets it back page by page, zeroed: half of
the time of all that numpy does here. What is kept is at most what one move took.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Final

# From malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MOST_KEPT: Final = 256 * 1024 * 1024
_LARGEST_KEPT: Final = 32 * 1024 * 1024


@cache
def keep_freed() -> None:
    """Have this process keep what it frees, where its C library can be told so."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
        mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
