"""The keys of one probe's table: each is asked for once, and what nobody asked for is a mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outrider.configuration import ConfigError, Source, dotted, suggest
from outrider.durations import microseconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from outrider.toml_lines import KeyPath

MAX_TEXT_CHARACTERS = 4_096


class Keys:
    """Reads a table; every mistake is a ConfigError that names file, line and key.

    A key whose default is None is required.
    """

    def __init__(self, table: Mapping[str, Any], source: Source, path: KeyPath) -> None:
        self._table = table
        self._source = source
        self._path = path
        self.known: list[str] = []
        """Keys that were asked for."""

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text."""
        found: str = self._get(key, default, str, "a text")
        return self._checked(key, found)

    def texts(self, key: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        """Return a list of texts."""
        found: list[Any] = self._get(key, list(default), list, "a list of texts")
        if not all(isinstance(one, str) for one in found):
            raise self.mistake(key, "a list of texts is expected")
        return tuple(self._checked(key, one) for one in found)

    def values(self, key: str, default: Sequence[Any]) -> tuple[Any, ...]:
        """Return a list of whatever."""
        found: list[Any] = self._get(key, list(default), list, "a list")
        return tuple(found)

    def pairs(self, key: str) -> dict[str, str]:
        """Return a table of texts; empty without the key."""
        found: dict[str, Any] = self._get(key, {}, dict, "a table of texts")
        if not all(isinstance(value, str) for value in found.values()):
            raise self.mistake(key, "a table of texts is expected")
        return {name: self._checked(key, value) for name, value in found.items()}

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        """Return one of the words that there are."""
        word: str = self._get(key, default, str, "a text")
        if word not in choices:
            near = suggest(word, choices)
            hint = f"did you mean `{near}`? " if near else ""
            what = f"unknown value `{word[:100]}`"
            raise self.mistake(key, what, f"{hint}One of: {', '.join(choices)}")
        return word

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        """Return true or false."""
        return bool(self._get(key, default, bool, "true or false"))

    def integer(self, key: str, default: int | None, low: int, high: int) -> int:
        """Return a whole number from ``low`` to ``high``."""
        return int(self._within(key, self._get(key, default, int, "a whole number"), low, high))

    def number(self, key: str, default: float | None, low: float, high: float) -> float:
        """Return a number from ``low`` to ``high``."""
        found = self._get(key, default, (int, float), "a number")
        return self._within(key, float(found), low, high)

    def seconds(self, key: str, default: str | None, low: str, high: str) -> float:
        """Return the seconds of a duration such as ``30s``; an empty default is 0."""
        written: str = self._get(key, default, str, "a duration such as 30s")
        if not written and default == "":
            return 0.0
        try:
            us = microseconds(written)
        except ValueError as error:
            raise self.mistake(key, str(error)) from None
        if not microseconds(low) <= us <= microseconds(high):
            raise self.mistake(key, f"{written} is not from {low} to {high}")
        return us / 1e6

    def table(self, key: str) -> Keys:
        """Return the keys of a table inside; without it, of an empty one."""
        return self.inside(self._get(key, {}, dict, "a table"), key)

    def tables(self, key: str) -> list[Keys]:
        """Return the keys of each table of an array."""
        found = self._get(key, [], list, "an array of tables")
        if not all(isinstance(one, dict) for one in found):
            raise self.mistake(key, "an array of tables is expected")
        return [self.inside(one, key, index) for index, one in enumerate(found)]

    def inside(self, table: Mapping[str, Any], *steps: str | int) -> Keys:
        """Return the keys of a table that stands at these steps below this one."""
        return Keys(table, self._source, (*self._path, *steps))

    def value(self, key: str) -> Any:
        """Return whatever stands there, which is required."""
        return self._get(key, None, object, "a value")

    def names(self) -> tuple[str, ...]:
        """Return the keys that are there, of a table whose keys are up to its writer."""
        return tuple(self._table)

    def has(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._table

    def mistake(self, key: str, what: str, what_to_do: str = "") -> ConfigError:
        """Return the error that says what is wrong with a key."""
        path = (*self._path, key)
        return ConfigError(f"`{dotted(path)}`: {what}", self._source.where(path), what_to_do)

    def finish(self) -> None:
        """Refuse keys that nobody asked for."""
        for key in self._table:
            if key not in self.known:
                near = suggest(key, self.known)
                known = f"known keys: {', '.join(sorted(self.known))}"
                path = (*self._path, key)
                raise ConfigError(
                    f"unknown key `{dotted(path)}`",
                    self._source.where(path),
                    f"did you mean `{near}`?" if near else known,
                )

    def _get(
        self, key: str, default: object, shape: type[Any] | tuple[type[Any], ...], told: str
    ) -> Any:
        self.known.append(key)
        value = self._table.get(key, default)
        if value is None:
            path = (*self._path, key)
            raise ConfigError(f"`{dotted(path)}` is missing", self._source.where(path), "add it")
        is_stray_flag = isinstance(value, bool) and shape not in {bool, object}
        if is_stray_flag or not isinstance(value, shape):
            raise self.mistake(key, f"{told} is expected")
        return value

    def _checked(self, key: str, text: str) -> str:
        if "\0" in text or len(text) > MAX_TEXT_CHARACTERS:
            raise self.mistake(key, "a text is too long, or has a zero byte in it")
        return text

    def _within(self, key: str, found: float, low: float, high: float) -> float:
        if not low <= found <= high:
            raise self.mistake(key, f"{found} is not from {low} to {high}")
        return found
