"""Severity: OpenTelemetry's numbers, 1 to 24, in six named groups of four.

A record's severity is always a number; a name stands for the first number of its group, so that
``severity>=error`` means 17 and above. An alert's priority is another scale and not here.
"""

from __future__ import annotations

TRACE, DEBUG, INFO, WARN, ERROR, FATAL = 1, 5, 9, 13, 17, 21

NAMES = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
"""The groups, from the least to the most severe."""

MINIMUM, MAXIMUM = 1, 24

_GROUP_SIZE = 4

_WORDS: dict[str, int] = {
    "t": TRACE, "trace": TRACE, "trc": TRACE, "verbose": TRACE, "finest": TRACE, "finer": TRACE,
    "d": DEBUG, "debug": DEBUG, "dbg": DEBUG, "debg": DEBUG, "fine": DEBUG,
    "i": INFO, "info": INFO, "inf": INFO, "information": INFO, "informational": INFO, "log": INFO,
    # Syslog's notice stands between info and warning; OpenTelemetry maps it to INFO2.
    "n": INFO + 1, "notice": INFO + 1, "note": INFO + 1,
    "w": WARN, "warn": WARN, "warning": WARN, "wrn": WARN,
    "e": ERROR, "error": ERROR, "err": ERROR, "severe": ERROR, "eror": ERROR,
    # Python's CRITICAL is what a process logs when it cannot go on.
    "c": FATAL, "critical": FATAL, "crit": FATAL, "alert": FATAL,
    "f": FATAL, "fatal": FATAL, "emerg": FATAL, "emergency": FATAL, "panic": FATAL,
}  # fmt: skip


def name(number: int) -> str:
    """Return the name of a number's group: ``name(18) == "ERROR"``.

    Numbers out of range are clamped.
    """
    clamped = min(max(number, MINIMUM), MAXIMUM)
    return NAMES[(clamped - 1) // _GROUP_SIZE]


def parse(value: str | int) -> int | None:
    """Return the severity of a word (``"warning"``, ``"E"``, ``"info2"``) or number, or None.

    A number is one of OpenTelemetry's, 1 to 24. Words are case-free; a digit 2 to 4 after the name
    of a group is its finer step.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if MINIMUM <= value <= MAXIMUM else None
    word = value.strip().lower()
    known = _WORDS.get(word)
    if known is not None:
        return known
    if word.isascii() and word.isdigit():
        return parse(int(word[:4]))
    if word[-1:] in {"2", "3", "4"} and word[:-1].upper() in NAMES:
        return _WORDS[word[:-1]] + int(word[-1]) - 1
    return None


def from_stdlib(level: int) -> int:
    """Return the severity for a level of Python's ``logging`` (DEBUG 10 .. CRITICAL 50).

    Levels between the named ones become the finer steps of the group below: 25 is INFO3.
    """
    if level >= 50:
        return FATAL
    if level < 10:
        return TRACE
    # Each ten of Python's scale is one group of four; a tenth of a group is too fine to keep.
    group, within = divmod(level, 10)
    return DEBUG + (group - 1) * _GROUP_SIZE + within * _GROUP_SIZE // 10
