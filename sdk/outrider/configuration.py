"""Configuration: one TOML format for all parts, read once, checked whole, with errors that help.

``outrider.toml`` serves every part or one host; each part reads its own top-level tables. A file is
looked for at ``--config``, else ``$OUTRIDER_CONFIG``, else ``/etc/outrider/outrider.toml``, else
``outrider.toml`` in the data directory (where `outrider up` keeps it); without any the defaults of
each part hold. A table's shape is a struct class of the part that owns it. The
conversion (``msgspec.convert``) is passed in, so that this module needs nothing but Python.

Whatever is wrong is a :class:`ConfigError`: it names the file, the line and the key, what was
expected there, and for an unknown key the nearest one that exists. TOML parsers do not keep lines,
so :mod:`outrider.toml_lines` finds the line of a key by reading the text a second time.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from outrider.places import default_data_dir, default_inbox
from outrider.toml_limits import excess
from outrider.toml_lines import KeyPath, key_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "ConfigError",
    "Mistake",
    "Source",
    "default_data_dir",
    "dotted",
    "find",
    "inbox",
    "load",
    "mistake",
    "parse",
    "read_secret",
    "read_source",
    "read_text",
    "suggest",
    "translate",
]

SYSTEM_PATH = Path("/etc/outrider/outrider.toml")
"""Where a process looks when neither --config nor $OUTRIDER_CONFIG says otherwise."""

FILENAME = "outrider.toml"
"""What the file is called in a data directory."""

TOP_LEVEL = (
    "data_dir", "database", "collector", "dashboard", "agent", "retention", "store", "health",
)  # fmt: skip
"""Top-level keys that some part reads; any other is a mistake, whichever part reads the file."""

MAX_FILE_BYTES = 1 << 20


class ConfigError(Exception):
    """The configuration cannot be used: what is wrong, where, and what to do."""

    def __init__(self, what: str, where: str = "", what_to_do: str = "") -> None:
        super().__init__(": ".join(part for part in (what, where, what_to_do) if part))
        self.what = what
        self.where = where
        """File, or ``file:line``."""
        self.what_to_do = what_to_do


class Source(NamedTuple):
    """A TOML text and the name of its file, to find the place of a mistake."""

    file: str
    text: str = ""

    def where(self, path: KeyPath) -> str:
        """Return ``file:line`` of the key, or of the nearest table around it that has a line."""
        lines = key_lines(self.text)
        while path and path not in lines:
            path = path[:-1]
        return f"{self.file}:{lines[path]}" if path else self.file


def suggest(word: str, known: Iterable[str], closeness: float = 0.6) -> str | None:
    """Return the known word that ``word`` was probably meant to be, or None.

    ``closeness`` is difflib's ratio, 0 to 1, from which a word is near enough.
    """
    candidates = list(known)
    near = difflib.get_close_matches(word, candidates, n=1, cutoff=closeness)
    if near:
        return near[0]
    # difflib rates a short word inside a long one low: "window" for "window_bytes".
    within = [c for c in candidates if len(word) > 2 and (word in c or c in word)]
    return min(within, key=len) if within else None


def find(path: str | Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the file to read, or None for defaults. A file asked for by name must exist.

    One of the usual places that this user may not look at is as if it were not there.
    """
    named = path or environ.get("OUTRIDER_CONFIG") or None
    if named is not None:
        return Path(named)
    return next((file for file in _usual(environ) if _is_readable(file)), None)


def _is_readable(file: Path) -> bool:
    # Not Path.is_file(), which raises where a directory above is closed.
    return os.path.isfile(file) and os.access(file, os.R_OK)  # noqa: PTH113


def _usual(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The host's file, then the one that `outrider up` keeps beside its data."""
    return SYSTEM_PATH, default_data_dir(environ) / FILENAME


def load(
    path: str | Path | None,
    convert: Callable[..., Any],
    tables: Mapping[str, type],
    *,
    environ: Mapping[str, str] = os.environ,
) -> dict[str, Any]:
    """Read the configuration and convert each table asked for to its struct.

    ``convert(value, type=...)`` is msgspec's. A table that the file lacks is converted from ``{}``:
    its defaults. ``tables`` may ask for a plain top-level key as well (``{"data_dir": str}``); it
    is left out of the result where the file lacks it. Raises ConfigError.
    """
    source = read_source(path, environ)
    document = parse(source)
    _check_top_level(document, source)
    result: dict[str, Any] = {}
    for name, shape in tables.items():
        if name not in document and shape in {str, int, float, bool}:
            continue
        try:
            result[name] = convert(document.get(name, {}), type=shape)
        except ValueError as error:  # msgspec.ValidationError is one
            raise translate(error, source, (name,), shape) from None
    return result


def inbox(path: str | Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the inbox that an agent with these settings reads; other tables may be wrong.

    ``agent.inbox``, else $OUTRIDER_INBOX, else ``inbox`` in a ``data_dir`` that the file names,
    else the machine's or the user's own. Raises ConfigError.
    """
    tables = load(path, _as_it_is, {"agent": dict, "data_dir": str}, environ=environ)
    agent = tables["agent"]
    configured, data_dir = (
        agent.get("inbox") if isinstance(agent, dict) else None,
        tables.get("data_dir"),
    )
    for key, value in (("agent.inbox", configured), ("data_dir", data_dir)):
        if value is not None and not isinstance(value, str):
            where = read_source(path, environ).where(tuple(key.split(".")))
            raise ConfigError(f"`{key}` is no text", where, "write a path in quotes")
    return inbox_of(configured, data_dir, environ)


def inbox_of(
    configured: str | None, data_dir: str | None, environ: Mapping[str, str] = os.environ
) -> Path:
    """Return the inbox by what the settings say: ``agent.inbox`` and ``data_dir``."""
    if configured:
        return Path(configured)
    if data_dir and not environ.get("OUTRIDER_INBOX"):
        return Path(data_dir) / "inbox"
    return default_inbox(environ)


def _as_it_is(value: object, *, type: object) -> object:  # noqa: A002  the loader's own name
    del type
    return value


def read_source(path: str | Path | None, environ: Mapping[str, str] = os.environ) -> Source:
    """Read the file that :func:`load` reads, to name places in it. Raises ConfigError."""
    file = find(path, environ)
    return Source(str(file), read_text(file)) if file is not None else Source("defaults")


def read_text(file: Path) -> str:
    """Read a file of at most 1 MiB as UTF-8; ConfigError says what is wrong with it."""
    if "\0" in str(file):
        raise ConfigError("the name of a file holds a zero byte", what_to_do="leave it out")
    try:
        if file.is_dir():
            raise ConfigError("a directory where a file should be", str(file), "name the file")
        with file.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        is_ours = isinstance(error, FileNotFoundError | PermissionError)
        hint = "check --config and $OUTRIDER_CONFIG" if is_ours else ""
        raise ConfigError(f"cannot read the file, {reason}", str(file), hint) from None
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"larger than {MAX_FILE_BYTES} bytes", str(file), "is it the right file?")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError("not UTF-8", f"{file}:{line}", "save the file as UTF-8") from None


def parse(source: Source) -> dict[str, Any]:
    """Parse TOML; what is not TOML, or beyond :mod:`outrider.toml_limits`, is a ConfigError."""
    try:
        document = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        what = _SYNTAX_PLACE.sub("", str(error))
        place = _SYNTAX_PLACE.search(str(error))
        line = int(place["line"]) if place and place["line"] else source.text.count("\n") + 1
        raise ConfigError(f"not TOML, {_lower_first(what)}", f"{source.file}:{line}") from None
    except RecursionError:
        raise ConfigError("not TOML, nested too deeply", source.file) from None
    except ValueError:
        # Python itself reads no integer of more digits (sys.get_int_max_str_digits).
        place = _ENDLESS.search(source.text)
        line = source.text.count("\n", 0, place.start()) + 1 if place else 1
        where = f"{source.file}:{line}"
        raise ConfigError("a number beyond 64 bits", where, "write a smaller one") from None
    if (found := excess(document)) is not None:
        what = found.what.format(dotted(found.path))
        raise ConfigError(what, source.where(found.path), found.what_to_do)
    return document


def read_secret(file: str | Path, base: Path | None = None) -> str:
    """Read the secret in a ``*_file`` key's file (relative to ``base``), without its line end.

    Raises ConfigError when it cannot be read or is empty.
    """
    path = Path(file) if base is None else base / file
    secret = read_text(path).strip()
    if not secret:
        raise ConfigError("the file of a secret is empty", str(path), "write the secret into it")
    return secret


class Mistake(NamedTuple):
    """What a conversion found wrong: where inside the value, what, and what to do."""

    path: KeyPath
    """From the converted value; of an unknown or missing key, the key itself."""
    what: str
    """With ``{}`` where the key's name belongs."""
    hint: str = ""
    is_missing: bool = False


def mistake(error: Exception, shape: type | None = None) -> Mistake:
    """Read a conversion's error (msgspec's wording); ``shape`` is the struct class it was for."""
    message = str(error)
    at = _AT.search(message)
    what = message[: at.start()] if at else message
    path = _steps(at["path"]) if at else ()
    if unknown := _UNKNOWN.match(what):
        known = _known_fields(shape, path)
        return Mistake((*path, unknown["key"]), "unknown key `{}`", _hint(unknown["key"], known))
    if missing := _MISSING.match(what):
        return Mistake((*path, missing["key"]), "`{}` is missing", "add it", is_missing=True)
    if value := _NOT_ONE_OF.match(what):
        choices = [str(one) for one in _choices(_hint_of(shape, path))]
        near = suggest(value["value"], choices)
        hint = f"did you mean `{near}`? " if near else ""
        listed = f"{hint}One of: {', '.join(choices)}" if choices else ""
        return Mistake(path, f"`{{}}`: unknown value `{_literal(value['value'])}`", listed)
    # A struct's own check names the key of its that is wrong.
    if (named := _NAMED.match(what)) and named["key"] in _known_fields(shape, path):
        return Mistake((*path, named["key"]), f"`{{}}`{_literal(named['rest'])}")
    return Mistake(path, f"`{{}}`: {_literal(_lower_first(what))}")


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def translate(
    error: Exception, source: Source, prefix: KeyPath = (), shape: type | None = None
) -> ConfigError:
    """Turn a conversion's error into one with file, line, key, expected values and suggestion.

    ``prefix`` is the path of the converted value in the document, ``shape`` its struct class.
    """
    found = mistake(error, shape)
    path = prefix + found.path
    return ConfigError(found.what.format(dotted(path)), source.where(path), found.hint)


def dotted(path: KeyPath) -> str:
    """Return a key path as people write it: ``agent.source[0].paths``."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")


_SYNTAX_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)")
_ENDLESS = re.compile(r"[0-9][0-9_]{4000,}")
_AT = re.compile(r" - at `(?:key` in `)?\$(?P<path>[^`]*)`$")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<key>[^`]*)`")
_MISSING = re.compile(r"^Object missing required field `(?P<key>[^`]*)`")
_NAMED = re.compile(r"^`(?P<key>\w+)`(?P<rest>.*)$", re.DOTALL)
_NOT_ONE_OF = re.compile(r"^Invalid enum value '?(?P<value>.*?)'?$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[\.\.\.\]")


def _check_top_level(document: Mapping[str, Any], source: Source) -> None:
    for key in document:
        if key not in TOP_LEVEL:
            where = source.where((key,))
            raise ConfigError(f"unknown key `{key}`", where, _hint(key, TOP_LEVEL))


def _steps(path: str) -> KeyPath:
    # "[...]" is msgspec's word for "some key of a map": what is known of the path ends there.
    steps: list[str | int] = []
    for step in _STEP.finditer(path):
        if step[1] is not None:
            steps.append(step[1])
        elif step[2] is not None:
            steps.append(int(step[2]))
        else:
            break
    return tuple(steps)


def _lower_first(what: str) -> str:
    return what[:1].lower() + what[1:]


def _hint(key: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = suggest(key, names)
    if near is not None:
        return f"did you mean `{near}`?"
    return f"known keys: {', '.join(names)}" if names else ""


def _known_fields(shape: type | None, steps: KeyPath) -> Iterable[str]:
    """Return the field names of the struct that ``steps`` lead to from ``shape``."""
    current: Any = shape
    for step in steps:
        # An index leads to an element, whose struct was found with the array's key.
        if isinstance(step, str):
            current = _struct_of_field(current, step)
    # Duck-typed, so that the SDK needs no msgspec; the encoded names are the ones in the file.
    names: Iterable[str] = getattr(current, "__struct_encode_fields__", ())
    return names


def _struct_of_field(shape: Any, name: str) -> Any:
    try:
        return _struct_in(get_type_hints(shape)[name])
    except (KeyError, NameError, TypeError):
        return None


def _hint_of(shape: Any, steps: KeyPath) -> Any:
    """Return the type that ``steps`` lead to from a struct class, or None."""
    current = shape
    for step in steps:
        if isinstance(step, int):
            current = next(iter(get_args(current)), None)
            continue
        struct = _struct_in(current)
        names = dict(
            zip(
                getattr(struct, "__struct_encode_fields__", ()),
                getattr(struct, "__struct_fields__", ()),
                strict=True,
            )
        )
        try:
            current = get_type_hints(struct)[names[step]]
        except (KeyError, NameError, TypeError):
            return None
    return current


def _choices(hint: Any) -> list[Any]:
    """Return the values of a Literal, wherever it stands in a type."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [value for part in get_args(hint) for value in _choices(part)]


def _struct_in(hint: Any) -> Any:
    """Return the struct class in a type such as ``tuple[Source, ...] | None``, or None."""
    if hasattr(hint, "__struct_encode_fields__"):
        return hint
    return next((found for found in map(_struct_in, get_args(hint)) if found is not None), None)
