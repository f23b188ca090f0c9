"""How numbers are written, and those of the store read. Pure.

A space stands before the unit, a comma between thousands. kB and MB are powers of ten, because
files are counted so; MiB and GiB are for memory and its limits.
"""

from __future__ import annotations

import math

from outrider_dashboard.timing import MINUS

_STORED_DIGITS = 19
"""Digits of 2**63 - 1: stream ids are random, and nine of ten have as many."""

_WORDS = (
    "no", "one", "two", "three", "four", "five", "six",
    "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip


def stored(text: str) -> int | None:
    """Read a number as the store gives them, 0 to 2**63 - 1; None for anything else."""
    if text.isascii() and text.isdigit() and len(text) <= _STORED_DIGITS:
        number = int(text)
        return number if number < 2**63 else None
    return None


def count(number: float) -> str:
    """Write a count: ``21,806``, from a million on ``34 million``."""
    size = abs(number)
    sign = MINUS if number < 0 else ""
    for unit, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if size >= unit:
            value = size / unit
            return f"{sign}{value:.1f} {name}" if value < 9.95 else f"{sign}{value:,.0f} {name}"
    return f"{sign}{size:,.0f}"


def exact(number: int) -> str:
    """Write every digit, where each one is evidence: ``18,402,118``."""
    return f"{number:,}".replace("-", MINUS)


def compact(number: float) -> str:
    """Write a number for tiles and axes: ``800``, ``1.2k``, ``46k``, ``3.1M``."""
    for unit, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        # 999.6 would otherwise be written 1000.
        if number >= unit * 0.9995:
            value = number / unit
            return f"{value:.1f}{suffix}" if value < 9.95 else f"{value:.0f}{suffix}"
    return f"{number:.0f}"


def file_size(number: float) -> str:
    """Write bytes of files and of the store: ``0 B``, ``96 kB``, ``2.1 MB``, ``412 GB``."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= unit * 0.9995:
            value = number / unit
            return f"{value:.1f} {name}" if value < 9.95 else f"{value:.0f} {name}"
    return f"{number:.0f} B"


def memory_size(number: float) -> str:
    """Write bytes of memory: ``38 MiB``, ``2.00 GiB``."""
    gib = number / 2**30
    if gib >= 0.995:
        return f"{gib:.2f} GiB"
    mib = number / 2**20
    return f"{mib:.1f} MiB" if mib < 9.95 else f"{mib:.0f} MiB"


def percent(share: float) -> str:
    """Write a share of one: ``9.1 %``, ``78 %``."""
    value = share * 100
    return f"{value:.1f} %" if 0 < value < 9.95 else f"{value:.0f} %"


def uptime(share: float) -> str:
    """Write a share of time: ``99.98 %``; cut off, so that 100.00 means that nothing was amiss."""
    return f"{math.floor(share * 10_000 + 1e-9) / 100:.2f} %"


def target(share: float) -> str:
    """Write the share that is aimed at, with as many digits as it has: ``99.9 %``."""
    return f"{share * 100:.6g} %"


def left(share: float) -> str:
    """Write what is left of a budget, cut off: ``86 %``."""
    return f"{math.floor(share * 100 + 1e-9)} %"


def measure(value: float) -> str:
    """Write a measured value with no unit: whole where it is whole, else two decimals at most."""
    if value == int(value):
        return count(value)
    text = f"{abs(value):.2f}".rstrip("0").rstrip(".")
    return f"{MINUS}{text}" if value < 0 else text


def per_second(rate: float, noun: str) -> str:
    """Write a rate: ``684 lines/s``; below ten with one decimal, because 0 would be a claim."""
    return f"{rate:.1f} {noun}/s" if 0 < rate < 9.95 else f"{count(rate)} {noun}/s"


def plural(number: int, noun: str, many: str = "") -> str:
    """Write a count with its noun: ``1 line``, ``37 lines``."""
    return f"{count(number)} {noun if number == 1 else many or noun + 's'}"


def alert_name(number: int) -> str:
    """Write an episode's name as messages and commands do: ``A-6``."""
    return f"A-{number}"


def word(number: int) -> str:
    """Write a small number as a word, as sentences begin: ``four``; from 13 on in digits."""
    return _WORDS[number] if 0 <= number < len(_WORDS) else count(number)


def signed_ms(milliseconds: float) -> str:
    """Write a clock offset: ``+12 ms``, ``-61 ms`` with a true minus sign."""
    if round(milliseconds) == 0:
        return "0 ms"
    return f"{'+' if milliseconds > 0 else MINUS}{count(abs(round(milliseconds)))} ms"
