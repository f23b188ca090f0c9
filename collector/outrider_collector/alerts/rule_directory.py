"""The rule files of a directory, as they are applied, and the secrets that they point to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from outrider.configuration import ConfigError, Source, dotted, parse, read_secret
from outrider_alerting.rule_files import Problem
from outrider_collector.store.database_url import UP_LOCK
from outrider_collector.store.rules import FILES_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


RULES_DIRECTORY: Final = "rules"
"""Inside the data directory of `outrider up`: what it applies at each start."""


def read_directory(directory: str | Path) -> dict[str, str]:
    """Return name to text of every ``*.toml`` in the directory. Raises ConfigError."""
    path = Path(directory)
    if not path.is_dir():
        what = "not a directory" if path.exists() else "no such directory"
        raise ConfigError(
            f"cannot read the rules, {what}", str(path), "name the directory of your rule files"
        )
    try:
        files = sorted(file for file in path.iterdir() if _is_rule_file(file))
        texts = {file.name: _text(file) for file in files}
    except OSError as error:
        raise ConfigError(
            f"cannot read the rules, {(error.strerror or str(error)).lower()}",
            str(error.filename or path),
            "make the files readable for this account",
        ) from None
    if not texts:
        raise ConfigError("no rule files", str(path), "put rules into files named *.toml")
    return texts


def undone_by(directory: str | Path, files: Mapping[str, str], data_dir: Path) -> Path | None:
    """Return the directory whose other files `outrider up` applies at its next start.

    None where it holds the same, or where no `outrider up` was ever run in this data directory.
    """
    theirs = data_dir / RULES_DIRECTORY
    if not (data_dir / UP_LOCK).exists() or _is_same(Path(directory), theirs):
        return None
    try:
        return None if read_directory(theirs) == files else theirs
    except ConfigError:
        return theirs


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def secret_notes(files: Mapping[str, str], secrets_dir: Path) -> Iterator[Problem]:
    """Yield what keeps secrets of channels from being read here.

    It is no mistake of the rules: only the collector's host needs the files.
    """
    for file, text in files.items():
        source = Source(file, text)
        try:
            channels = parse(source).get("channel", [])
        except ConfigError:
            continue  # a syntax error, which lint tells
        for index, channel in enumerate(channels if isinstance(channels, list) else []):
            for key, name in channel.items() if isinstance(channel, dict) else ():
                if key.endswith("_file") and isinstance(name, str) and name:
                    try:
                        read_secret(name, secrets_dir)
                    except ConfigError as error:
                        path = ("channel", index, key)
                        _, _, line = source.where(path).rpartition(":")
                        yield Problem(
                            file,
                            int(line) if line.isdigit() else None,
                            dotted(path),
                            f"`{key}` of channel `{channel.get('name')}`: {error.what}",
                            f"put the secret into {secrets_dir / name}, readable for the "
                            "collector, if this is the collector's host",
                            is_error=False,
                        )


def _is_rule_file(file: Path) -> bool:
    # Editors leave hidden files beside the real ones.
    return file.suffix == ".toml" and not file.name.startswith(".") and file.is_file()


def _text(file: Path) -> str:
    if (size := file.stat().st_size) > FILES_BYTES_MAX:
        raise ConfigError(
            f"a rule file has {size:,} bytes, at most {FILES_BYTES_MAX:,} can be applied",
            str(file),
            "split the rules, or remove what is no rule",
        )
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"not UTF-8 at byte {error.start}", str(file), "save the file as UTF-8"
        ) from None
