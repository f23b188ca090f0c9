r"""Regular expressions of a filter: tested by RE2, and what every text that one matches holds.

RE2 takes time in proportion to the text, whatever the pattern, so nobody who may write a filter can
hold up who evaluates it. Its package, google-re2, is loaded with the first pattern: a worker that
only logs never needs it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_MEMORY_BYTES: Final = 2 << 20
"""What one compiled pattern may use; RE2 refuses a pattern that needs more."""


class ExpressionError(ValueError):
    """A pattern cannot be used. ``part`` is the part of it that is wrong, or "" for all of it."""

    def __init__(self, message: str, part: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.part = part


def expression_test(pattern: str) -> Callable[[str], bool]:
    """Return the test whether the pattern is found in a text. Raises ExpressionError."""
    re2 = _engine()
    if re2 is None:
        raise ExpressionError("regular expressions need the package google-re2")
    try:
        search = re2.compile(pattern, _options(re2)).search
    except UnicodeEncodeError as error:
        raise ExpressionError("the expression is no text") from error
    except re2.error as error:
        raise _refused(error.args[0].decode("utf-8", "replace")) from error
    return lambda text: search(text.encode("utf-8", "replace")) is not None


def in_any_case(text: str) -> Callable[[bytes], bool]:
    """Return the test whether bytes hold an ASCII text, whatever the case of its letters.

    With google-re2 it costs half of lowering the bytes, which is what is done without: a plain word
    needs no package.
    """
    re2 = _engine()
    if re2 is None:
        lowered = text.lower().encode()
        return lambda held: lowered in held.lower()
    options = _options(re2)
    options.case_sensitive = False
    options.encoding = re2.Options.Encoding.LATIN1
    search = re2.compile(re2.escape(text).encode(), options).search
    return lambda held: search(held) is not None


def _engine() -> Any:
    """Return the module of RE2, which has no types; None where it is not installed."""
    try:
        import re2  # noqa: PLC0415  only who has a pattern pays for it
    except ModuleNotFoundError:
        return None
    return re2


def _options(re2: Any) -> Any:
    options = re2.Options()
    options.never_capture = True
    options.log_errors = False  # it would write to standard error by itself
    options.max_mem = MAX_MEMORY_BYTES
    return options


def _refused(said: str) -> ExpressionError:
    """Read RE2's message: what is wrong, a colon, and the part that is."""
    what, _, part = said.partition(": ")
    around = "; RE2 has no look-around" if part in {"(?<=", "(?<!", "(?=", "(?!", "(?<"} else ""
    return ExpressionError(f"{what} in a regular expression{around}", part)


# Where these stand, what follows is not read on: the answer is then "nothing is known".
_NOT_READ: Final = re.compile(r"\[:|\\[^\WdDsSwWbBAznrtfva]", re.ASCII)
_FLAGS: Final = re.compile(r"\(\?[A-Za-z-]*\)")
_REPETITION: Final = re.compile(r"\{[0-9]+(?:,[0-9]*)?\}")
_CLASS: Final = re.compile(r"\[\^?\]?(?:[^\]\\]|\\.)*\]", re.DOTALL)


def required_texts(pattern: str) -> list[str]:
    r"""Return texts that stand in every text that the pattern is found in, letter for letter.

    ``"lost after "`` and ``" ms"`` of ``lost after \d+ ms``. What stands in groups is not looked
    at, and of alternatives nothing is required. The pattern must be one that RE2 accepts.
    """
    if _NOT_READ.search(pattern):
        return []
    runs = [""]
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "|" or _FLAGS.match(pattern, position):
            return []
        position, literal = _atom(pattern, position)
        if literal:
            runs[-1] += literal
            continue
        if character in "*?{":
            # What stands before may be left out.
            runs[-1] = runs[-1][:-1]
        runs.append("")
    return [run for run in runs if run]


def _atom(pattern: str, position: int) -> tuple[int, str]:
    """Return where the atom at a position ends, and the letter that it is, or ""."""
    character = pattern[position]
    if character == "\\":
        escaped = pattern[position + 1]
        return position + 2, "" if escaped.isascii() and escaped.isalnum() else escaped
    if character == "[":
        found = _CLASS.match(pattern, position)
        return (found.end() if found else len(pattern)), ""
    if character == "(":
        return _end_of_group(pattern, position), ""
    if character == "{":
        found = _REPETITION.match(pattern, position)
        return (found.end() if found else position + 1), ""
    return position + 1, "" if character in ".^$*+?" else character


def _end_of_group(pattern: str, position: int) -> int:
    depth = 0
    while position < len(pattern):
        character = pattern[position]
        if character in "()":
            depth += 1 if character == "(" else -1
            position += 1
            if not depth:
                break
        else:
            position, _ = _atom(pattern, position)
    return position
