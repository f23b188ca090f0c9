"""``outrider agent check``: what each source would match, and what would keep the agent from it."""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from pathlib import Path
from typing import TYPE_CHECKING

from outrider.command import DONE, FOUND
from outrider.instants import from_unix_us
from outrider.probes.look import look as look_once
from outrider.probes.result import WELL
from outrider.visible import visible
from outrider_agent import encodings, identity
from outrider_agent.configuration import SourceConfig
from outrider_agent.discovery import (
    COMPRESSED,
    Discovery,
    advice,
    excluded,
    open_regular,
    why_nothing,
)
from outrider_agent.formats import choose, sample
from outrider_agent.times import TimeReader
from outrider_agent.wide_framing import framer

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_agent.configuration import Configuration

READ_FROM_ARCHIVES = "read only for what was not delivered of a file before it was compressed"

_SHOWN = 20
_DEFAULTS = SourceConfig(paths=("/",), service="s")


def run(config: Configuration, write: Callable[[str], object], *, probe: bool = False) -> int:
    """Print the configuration's effect; 3 when something needs a hand.

    With ``probe`` each probe looks once, now; else it is only named.
    """
    problems: list[str] = []
    write(f"collectors   {', '.join(config.agent.collectors)}\n")
    write(f"host         {config.host}\n")
    for label, path in (("state_dir", config.state_dir), ("inbox", config.inbox)):
        problem = _unwritable(path)
        told = f"  ({problem})" if problem else ""
        write(f"{label:<12} {visible(f'{path}{told}')}\n")
        if problem:
            what_to_do = f"let the agent's account write there, or set `agent.{label}`"
            problems.append(f"{label}: {path}: {problem}: {what_to_do}")
    problems += _check_enrolment(config, write)
    finder = Discovery(config.agent.source, config.inbox)
    for number, source in enumerate(config.agent.source, start=1):
        set_here = "".join(
            f", {key} {value}"
            for key in ("start", "when_full", "backlog_bytes")
            if (value := getattr(source, key)) != getattr(_DEFAULTS, key)
        )
        write(f"source {number}     service {source.service}, format {source.format}{set_here}\n")
        for pattern in source.paths:
            problems += _check_pattern(finder, pattern, source, write)
    problems += _check_probes(config, write, look=probe)
    for problem in problems:
        write(f"problem: {visible(problem)}\n")
    return FOUND if problems else DONE


def _check_probes(
    config: Configuration, write: Callable[[str], object], *, look: bool
) -> list[str]:
    problems: list[str] = []
    for spec in config.probes:
        write(f"probe        {spec.name}: {spec.kind.name}, every {spec.every_s:g} s")
        if look:
            result = look_once(spec)
            told = f"{result.state}: {visible(result.reason)}"
            write(f": {told} ({result.took_ms:.0f} ms)")
            for name, value in result.facts.items():
                write(f"\n    {visible(name)} = {visible(str(value))}")
            if result.state not in WELL:
                problems.append(f"probe {spec.name}: {told}")
        write("\n")
    if config.probes and not look:
        write("             try them once with `outrider agent check --probe`\n")
    return problems


def _check_enrolment(config: Configuration, write: Callable[[str], object]) -> list[str]:
    """Say whether the collector knows this agent; what it needs, where it does not yet."""
    path = identity.token_path(config.state_dir)
    try:
        token, is_damaged = identity.read_token(config.state_dir)
    except NotADirectoryError:
        token, is_damaged = None, False  # told of the state directory
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        write(f"enrolled     not known: {path}: {reason}\n")
        return [f"token: {path}: {reason}: {identity.token_advice(error)}"]
    if token is not None:
        write("enrolled     yes\n")
        return []
    how = "no: its token is damaged, it enrols anew with" if is_damaged else "not yet, with"
    write(f"enrolled     {how} {config.token_file}\n")
    if _is_readable(config.token_file) or not config.agent.token_file:
        # Where nobody named it, a collector on this host makes it when it starts.
        return []
    what_to_do = "copy the collector's enroll.token there, readable, or set `agent.token_file`"
    return [f"token_file: {config.token_file}: cannot be read: {what_to_do}"]


def _is_readable(path: Path) -> bool:
    return os.path.isfile(path) and os.access(path, os.R_OK)  # noqa: PTH113  raises nothing


def _check_pattern(
    finder: Discovery, pattern: str, source: SourceConfig, write: Callable[[str], object]
) -> list[str]:
    paths = finder.expand(pattern)
    wanted = [path for path in paths if not excluded(path, source)]
    packed = sum(path.endswith(COMPRESSED) for path in paths)
    left = len(paths) - len(wanted) - packed
    more = f", {left} excluded" if left else ""
    if packed:
        more += f", {packed} compressed: {READ_FROM_ARCHIVES}"
    if not paths:
        more = f": {finder.absent(pattern)}"
    files = "file" if len(wanted) == 1 else "files"
    write(f"  {visible(pattern)}: {len(wanted)} {files}{visible(more)}\n")
    problems: list[str] = []
    if not paths:
        problems += [f"{p.path}: {p.what}: {p.what_to_do}" for p in why_nothing(pattern)]
    for path in wanted:
        line, problem = _describe(path, source)
        if len(wanted) <= _SHOWN or problem:
            write(f"    {visible(line)}\n")
        if problem:
            problems.append(f"{path}: {problem}")
    return problems


def _describe(path: str, source: SourceConfig) -> tuple[str, str]:
    try:
        fd, status = open_regular(path, follow_links=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return f"{path}: {reason}", f"{reason}: {advice(error, path)}"
    try:
        head = os.pread(fd, 64 * 1024, 0)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return f"{path}: {reason}", f"{reason}: {advice(error, path)}"
    finally:
        os.close(fd)
    encoding = encodings.of_file(head, source.encoding)
    shown = f", {encoding}" if encoding != "utf-8" else ""
    problem = ""
    wide = encodings.unmarked_wide(head) if encoding == "utf-8" else None
    if wide:
        problem = f'it looks like UTF-16, and is read as UTF-8: set `encoding = "{wide}"`'
    return f"{path}: {status.st_size} bytes, {format_of(head, source)}{shown}", problem


def format_of(head: bytes, source: SourceConfig) -> str:
    """Say in which format the first bytes of a file would be read."""
    if source.format != "auto":
        return source.format
    encoding = encodings.of_file(head, source.encoding)
    framed = framer(encoding)(0).feed(head)
    lines = [encodings.decoded(line, encoding).line.removeprefix(BOM_UTF8) for line in framed.lines]
    if not lines:
        return "empty"
    if sum(line.startswith(b"{") for line in lines) * 2 >= len(lines):
        return "json"
    observed_us = from_unix_us(int(Path("/").stat().st_mtime * 1e6))
    found = choose(sample(lines), TimeReader(source.zone()), observed_us)
    return found.name if found is not None else "undecided so far, read as plain"


def _unwritable(path: Path) -> str:
    """Say why a directory could not be used; empty when it can, or could be made."""
    # Not Path's own methods: they raise where a directory above may not be entered.
    while not os.path.exists(path):  # noqa: PTH110
        path = path.parent
    if not os.path.isdir(path):  # noqa: PTH112
        return f"{path} is not a directory"
    return "" if os.access(path, os.W_OK | os.X_OK) else "no permission to write there"
