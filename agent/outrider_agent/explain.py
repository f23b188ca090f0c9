"""``outrider agent explain FILE``: why a file is read or not, as what, and how far."""

from __future__ import annotations

import fnmatch
import os
from typing import TYPE_CHECKING

from outrider import durations
from outrider.command import DONE, FOUND
from outrider.visible import visible
from outrider_agent import archives, check, control, state, status
from outrider_agent.discovery import COMPRESSED, Discovery, advice, open_regular
from outrider_agent.rotated_names import homes
from outrider_agent.status import size

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider_agent.account import Account, FileAccount
    from outrider_agent.configuration import Configuration, SourceConfig


def run(config: Configuration, name: str, write: Callable[[str], object]) -> int:
    """Print all that is known of one file; 3 when it is not read."""
    path = os.path.abspath(name)  # noqa: PTH100  links stay as they are named
    write(f"file         {visible(path)}\n")
    opened = _open(path, write)
    key = (opened[0].st_dev, opened[0].st_ino) if opened else (0, 0)
    account = status.asked(config, control.Question(path, *key))
    known = account.files if account is not None else []
    source = _source(config, path, write, followed=bool(known))
    if account is None:
        write(f"agent        none runs with {visible(str(config.state_dir))}\n")
    for file in known:
        _print(file, write)
    if known:
        return DONE
    if opened is not None and (read := _was_read(config, opened[0])):
        write(f"stream       {read}\n")
        return DONE
    if opened is None or source is None:
        return FOUND
    write(f"format       {check.format_of(opened[1], source)}\n")
    write(f"not read     {_why_not(account, path)}\n")
    return FOUND


def _open(path: str, write: Callable[[str], object]) -> tuple[os.stat_result, bytes] | None:
    """Return what the system says of what is there now, and its first bytes."""
    try:
        fd, found = open_regular(path, follow_links=True)
        try:
            head = os.pread(fd, 64 * 1024, 0)
        finally:
            os.close(fd)
    except OSError as error:
        hint = "" if isinstance(error, FileNotFoundError) else f": {visible(advice(error, path))}"
        write(f"now          {(error.strerror or str(error)).lower()}{hint}\n")
        return None
    write(f"now          {size(found.st_size)}, device {found.st_dev}, inode {found.st_ino}\n")
    return found, head


def _was_read(config: Configuration, found: os.stat_result) -> str:
    """Say of a file whose stream has ended how far it was read; empty where none is remembered.

    Its inode may be another's by now, such as what compressed it: size and time have to be its own.
    """
    key, looks = (found.st_dev, found.st_ino), (found.st_size, found.st_mtime_ns)
    remembered = state.load(config.state_dir / "cache.json")
    ended = dict(remembered.delivered).get(key)
    if ended is None or ended.was_deleted or ended.looks != looks:
        return ""
    streams = (seen.stream_id for seen in remembered.paths.values() if seen.key == key)
    named = next((f" {stream}" for stream in streams if stream), "")
    return f"ended{named}: it was read to its end, {ended.size} bytes, and all of it is stored"


def _source(
    config: Configuration, path: str, write: Callable[[str], object], *, followed: bool
) -> SourceConfig | None:
    """Say which source has the file, or why none has; the first that matches, as the agent does."""
    finder = Discovery(config.agent.source, config.inbox, config.state_dir)
    if os.path.dirname(path) in {str(config.inbox), str(config.inbox / "closing")}:  # noqa: PTH120
        write("source       the inbox\n")
        return None
    if finder.own(path):
        write("source       none: it is the agent's own, which no source reads\n")
        return None
    for number, source in enumerate(config.agent.source, start=1):
        for pattern in source.paths:
            if path not in finder.expand(pattern):
                continue
            left = _left_alone(path, source)
            if left is None:
                write(f"source       {number}: {visible(pattern)}, service {source.service}\n")
                return source
            shown = visible(pattern)
            write(f"source       {number} matches it by {shown} and leaves it alone: {left}\n")
    if followed:
        write("source       none matches it by this name: it is read to its end\n")
    else:
        patterns = [pattern for source in config.agent.source for pattern in source.paths]
        shown = visible(", ".join(patterns))
        write(f"source       none matches it: {shown or 'none is configured'}\n")
        _say_rotated(path, finder, write)
    return None


def _say_rotated(path: str, finder: Discovery, write: Callable[[str], object]) -> None:
    """Say of which path that a source has the file may be a generation."""
    home = next((one for one in homes(path) if finder.source_of(one) is not None), None)
    if home is not None and not path.endswith(COMPRESSED):
        write(f"rotated      by its name from {visible(home)}: read if it was written after the\n")
        write("             agent had last seen that path, and no stream has, or had, its bytes\n")


def _left_alone(path: str, source: SourceConfig) -> str | None:
    if path.endswith(COMPRESSED):
        is_readable = path.endswith(archives.READABLE)
        return f"it is compressed, {check.READ_FROM_ARCHIVES if is_readable else 'and not read'}"
    patterns = (pattern for pattern in source.exclude if fnmatch.fnmatchcase(path, pattern))
    excluding = next(patterns, None)
    return None if excluding is None else f"`exclude` has {excluding}"


def _print(file: FileAccount, write: Callable[[str], object]) -> None:
    if file.state == "waiting":
        write(
            "stream       none yet: it is empty, or NULs, or no collector has said welcome so far\n"
        )
        return
    write(f"stream       {file.stream_id}, worker {file.worker} of {file.service}\n")
    if not file.found:
        where = "it has no name any more" if file.deleted else f"last seen as {visible(file.path)}"
        write(f"rotated      {where}: it is read to its end by its open descriptor\n")
    write(f"evidence     device {file.device}, inode {file.inode}, ")
    write(f"digests of the first {file.head_bytes} bytes and of up to 4096 before the offset\n")
    begun = f", begun at {file.start_offset}" if file.start_offset else ""
    write(f"offset       committed {file.committed}, read {file.read}, size {file.size}{begun}\n")
    if file.behind_bytes:
        rest = f"{size(file.behind_bytes)} behind, for {durations.said(file.behind_ms / 1000)}"
        if file.unfinished_bytes:
            rest += f"; of these {file.unfinished_bytes} B wait for the end of their line"
        write(f"lag          {rest}\n")
    else:
        write("lag          none: Postgres has all of it\n")
    if file.prepared_bytes:
        room = f"{file.prepared_bytes} bytes at its end are NULs"
        write(f"room         {room}: what is written from their first on is read, no other part\n")
    write(f"format       {file.format}\n")
    if file.encoding != "utf-8":
        write(f"encoding     {file.encoding}\n")
    if file.multiline != "off":
        write(f"multiline    {file.multiline}\n")
    if file.state == "ended":
        write("state        ended: its last batch is on its way\n")


def _why_not(account: Account | None, path: str) -> str:
    if account is None:
        return "no agent runs"
    said = [visible(trouble) for trouble in account.troubles]
    said = [trouble for trouble in said if visible(path) in trouble]
    if said:
        return said[-1]
    if not account.collector:
        return "the agent has no session with a collector, and begins with no file before it has"
    return "the agent has not looked since, or its settings differ from the ones shown here"
