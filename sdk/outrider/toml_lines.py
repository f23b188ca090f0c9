"""Where each key of a TOML text stands: its line, for error messages.

Not a parser: the text has been accepted by ``tomllib`` before, so a scanner that knows strings,
comments, brackets, table headers and ``key =`` finds every key. Inline tables are followed, so that
``source = [{ paths = [1] }]`` gives lines too. A path is a tuple of keys and, for arrays of tables,
indexes: ``("agent", "source", 0, "paths")``.
"""

from __future__ import annotations

import re
import tomllib

KeyPath = tuple[str | int, ...]

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_TOKEN = re.compile(
    rf"""
      (?P<space>[ \t\r]+)
    | (?P<comment>\#[^\n]*)
    | (?P<newline>\n)
    | (?P<string>\"\"\"(?:[^\\]|\\.)*?\"{{3,5}}|'''.*?'{{3,5}}(?!'))
    | (?P<assign>{_DOTTED}[ \t]*=)
    | (?P<open>[\[{{])
    | (?P<close>[\]}}])
    | (?P<comma>,)
    | (?P<value>"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s,\]}}\#\[{{]+)
    """,
    re.VERBOSE | re.DOTALL,
)
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_DOTTED})[ \t]*\]\]?")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the 1-based line of every key and table of a valid TOML text."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._line = 1
        self._lines: dict[KeyPath, int] = {}
        self._counts: dict[KeyPath, int] = {}  # tables in each array of tables so far
        self._table: KeyPath = ()

    def scan(self) -> dict[KeyPath, int]:
        while self._position < len(self._text):
            header = _HEADER.match(self._text, self._position)
            if header:
                self._enter(_split(header[2]), array=header[1] == "[[")
                self._position = header.end()
            self._rest_of_statement()
        return self._lines

    def _enter(self, keys: list[str], *, array: bool) -> None:
        path: KeyPath = ()
        for depth, key in enumerate(keys):
            path += (key,)
            self._lines.setdefault(path, self._line)
            last = depth == len(keys) - 1
            if last and array:
                self._counts[path] = self._counts.get(path, 0) + 1
            if path in self._counts:
                path += (self._counts[path] - 1,)
                self._lines.setdefault(path, self._line)
        self._table = path

    def _rest_of_statement(self) -> None:
        """Read to the end of a ``key = value`` statement, which may span lines inside brackets."""
        # Each level: the path of the container, and the index of its current element (arrays).
        levels: list[tuple[KeyPath, int | None]] = []
        current = self._table
        while self._position < len(self._text):
            token = _TOKEN.match(self._text, self._position)
            if token is None:  # not reached for valid TOML; move on rather than loop
                self._position += 1
                continue
            self._position = token.end()
            kind, found = token.lastgroup, token[0]
            if kind == "assign":
                base = levels[-1][0] if levels else self._table
                current = base
                for key in _split(found[:-1]):
                    current += (key,)
                    self._lines.setdefault(current, self._line)
            elif kind == "open":
                if levels and levels[-1][1] is not None:
                    current = (*levels[-1][0], levels[-1][1])
                levels.append((current, 0 if found == "[" else None))
                self._lines.setdefault(current, self._line)
            elif kind == "close" and levels:
                levels.pop()
            elif kind == "comma" and levels and levels[-1][1] is not None:
                levels[-1] = (levels[-1][0], levels[-1][1] + 1)
            elif kind == "value" and levels and levels[-1][1] is not None:
                self._lines.setdefault((*levels[-1][0], levels[-1][1]), self._line)
            self._line += found.count("\n")
            if kind == "newline" and not levels:
                return


def _split(dotted: str) -> list[str]:
    """Return the keys of a dotted key, unquoted."""
    keys = re.findall(_KEY, dotted)
    return [k if k[0] not in "\"'" else next(iter(tomllib.loads(f"{k} = 0"))) for k in keys]
