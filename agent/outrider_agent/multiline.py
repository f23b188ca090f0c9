"""Which lines continue the record of the line before: rules for records of several lines.

A rule is a function of a line and of a small state, so that what a record is depends on bytes alone
(:mod:`outrider_agent.record_framing` applies it). Rules:

* ``indented``: a line that begins with a space or tab continues.
* a pattern, which begins with ``^``: a line that it does not match continues. RE2, so that no line,
  however hostile, takes long.
* ``auto``: indented lines, and what belongs to Python's tracebacks (also chained ones), to
  exceptions of Java's kind, and to Go's panics. A traceback continues the line before it where that
  one speaks of an error; else it is a record of its own.

Pure.
"""

from __future__ import annotations

import re
from typing import Protocol

BEGINS = -1
"""Answer of :meth:`Rule.continues`: the line begins a record."""

# States of `auto`: what the record has been so far.
_PLAIN, _ERROR, _TRACEBACK, _RAISED, _CHAINED, _PANIC = range(6)

HARDLY_GOES_ON = frozenset({_PLAIN})
"""States of ``auto`` in which only an indented line would continue the record."""
GOES_ON = frozenset({_TRACEBACK, _CHAINED})
"""States of ``auto`` in which the record's end has surely not come: it names no exception yet."""


class Rule(Protocol):
    """Says what belongs together."""

    def begin(self, line: bytes) -> int:
        """Return the state after a record's first line; 0 to 9."""

    def continues(self, line: bytes, state: int) -> int:
        """Return the state after a line that continues a record, or BEGINS."""


class _Indented:
    def begin(self, line: bytes) -> int:  # noqa: ARG002
        return 0

    def continues(self, line: bytes, state: int) -> int:  # noqa: ARG002
        return 0 if line[:1] in {b" ", b"\t"} else BEGINS


class _Pattern:
    def __init__(self, pattern: str) -> None:
        import re2  # noqa: PLC0415  only who has a pattern pays for it

        options = re2.Options()
        options.log_errors = False  # it would write to standard error by itself
        self._match = re2.compile(pattern.encode(), options).match

    def begin(self, line: bytes) -> int:  # noqa: ARG002
        return 0

    def continues(self, line: bytes, state: int) -> int:  # noqa: ARG002
        return 0 if self._match(line[:4096]) is None else BEGINS


# Ours, and without nested repetition.
_SPEAKS_OF_ERROR = re.compile(
    rb"(?i)\b(?:error|critical|exception|fatal|panic|severe|warn(?:ing)?|crit|alert|emerg)\b"
)
_TRACEBACK_LINE = b"Traceback (most recent call last):"
_CHAIN = (
    b"During handling of the above exception, another exception occurred:",
    b"The above exception was the direct cause of the following exception:",
)
_CAUSES = (b"Caused by: ", b"Suppressed: ")
_JAVA = re.compile(
    rb"(?:[A-Za-z_$][\w$]{0,99}\.){1,20}[A-Z][\w$]{0,150}"
    rb"(?:Exception|Error|Throwable|Failure)(?:\$\w{1,99})?(?::|\Z)"
)
_PANICS = (b"panic: ", b"fatal error: ")
_GOROUTINE = re.compile(rb"goroutine \d{1,19} \[")
_OF_PANIC = re.compile(
    rb"\[signal |goroutine \d{1,19} \[|created by |exit status \d|\.\.\.\d* ?additional frames"
    rb"|[^ ()]{1,300}(?:\([^ ()]{1,100}\)[^ ()]{0,200})?\([^()]*\)\Z"
)


class _Auto:
    def begin(self, line: bytes) -> int:
        if line.startswith(_TRACEBACK_LINE):
            return _TRACEBACK
        if line.startswith(_PANICS) or _GOROUTINE.match(line):
            return _PANIC
        if _JAVA.match(line[:512]):
            return _ERROR
        if line.startswith(b"{"):
            return _PLAIN
        return _ERROR if _SPEAKS_OF_ERROR.search(line[:256]) else _PLAIN

    def continues(self, line: bytes, state: int) -> int:
        first = line[:1]
        if first in {b" ", b"\t"}:
            return state
        if first == b"{":
            return BEGINS
        if line.startswith(_CAUSES):
            return state
        return _CONTINUES[state](line)


def _after_plain(line: bytes) -> int:  # noqa: ARG001
    return BEGINS


def _after_error(line: bytes) -> int:
    if line.startswith(_TRACEBACK_LINE):
        return _TRACEBACK
    if _GOROUTINE.match(line):
        return _PANIC
    return _ERROR if _JAVA.match(line[:512]) else BEGINS


def _in_traceback(line: bytes) -> int:
    # After the frames, which are indented, comes the exception: whatever it says.
    return BEGINS if line.startswith(_TRACEBACK_LINE) else _RAISED


def _after_raised(line: bytes) -> int:
    return _CHAINED if line.startswith(_CHAIN) else BEGINS


def _after_chain(line: bytes) -> int:
    return _TRACEBACK if line.startswith(_TRACEBACK_LINE) else BEGINS


def _in_panic(line: bytes) -> int:
    return _PANIC if _OF_PANIC.match(line[:1024]) else BEGINS


_CONTINUES = (_after_plain, _after_error, _in_traceback, _after_raised, _after_chain, _in_panic)


AUTO: Rule = _Auto()
"""The rule ``auto``, for those that have no other."""


def rule(name: str) -> Rule | None:
    """Return a rule by its name or pattern; None for ``off``.

    Raises ValueError for an unknown name or a pattern that RE2 does not know, ImportError where a
    pattern is given and RE2 is not installed.
    """
    if name == "off":
        return None
    if name == "auto":
        return AUTO
    if name == "indented":
        return _Indented()
    if not name.startswith("^"):
        raise ValueError(name)
    try:
        return _Pattern(name)
    except ImportError:
        raise
    except Exception as error:  # RE2's own, which has no base but Exception
        said = error.args[0] if error.args else ""
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(text) from error
