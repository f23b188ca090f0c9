"""What a running agent tells of itself when it is asked: ``outrider agent status`` and ``explain``.

The disk thread, which owns the files, fills an :class:`Account` when somebody asks; nothing is
gathered before. It travels as one JSON document over :mod:`outrider_agent.control`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from outrider_agent.control import Question
    from outrider_agent.followed import Followed
    from outrider_agent.registry import Candidate

MOST_FILES = 1000
"""An account of all files names at most so many, those furthest behind first."""

MOST_GAPS = 20


class FileAccount(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One file as the agent knows it."""

    path: str
    state: str
    """``followed``, ``ended`` (its end is being delivered), ``waiting`` (no stream yet)."""
    service: str = ""
    worker: str = ""
    stream_id: int = 0
    found: bool = True
    """Whether the last look found it under a path where a source looks."""
    deleted: bool = False
    """Whether it has no name any more and is held by its open descriptor."""
    device: int = 0
    inode: int = 0
    head_bytes: int = 0
    """So many first bytes are digested as evidence that finds the file again."""
    start_offset: int = 0
    committed: int = 0
    """Postgres has the stream up to this offset."""
    read: int = 0
    size: int = 0
    behind_bytes: int = 0
    """Bytes that are in the file and not in Postgres."""
    behind_ms: int = 0
    """Age of the oldest of them."""
    unfinished_bytes: int = 0
    """Of these, bytes after the last newline: a line that is not finished."""
    prepared_bytes: int = 0
    """NULs at its end that do not count: room that its writer has prepared for lines."""
    dropped_records: int = 0
    """Records dropped because more of the source waited than may, since the agent follows it."""
    format: str = ""
    """Which format its lines are read in, and why."""
    multiline: str = "off"
    encoding: str = "utf-8"


class GapAccount(msgspec.Struct, frozen=True):
    """A loss that this process told of."""

    at_us: int
    path: str
    reason: str
    records: int
    at_least: bool


class ProbeAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One probe as it is now."""

    kind: str
    name: str
    state: str
    """Empty: not decided yet."""
    reason: str
    checked_ms: int | None
    """How long ago the last look ended; None: none has."""


class Account(msgspec.Struct, kw_only=True):
    """The whole agent; times are microseconds since 2000, 0 for never."""

    pid: int = 0
    version: str = ""
    host: str = ""
    started_us: int = 0
    now_us: int = 0
    collectors: list[str] = []
    collector: str = ""
    """The one it has a session with; empty without one."""
    last_ack_us: int = 0
    window_bytes: int = 0
    window_used_bytes: int = 0
    file_count: int = 0
    closed_count: int = 0
    """Of these, closed until they are read: more are followed than may be open at once."""
    waiting_count: int = 0
    backlog_bytes: int = 0
    delivered_bytes_per_s: int = 0
    """Over the last half minute."""
    backlog_left_s: int = 0
    """Until nothing waits, if it goes on as in the last half minute; 0: it does not shrink."""
    deleted_bytes: int = 0
    """Unread and undelivered bytes of files that have no name any more."""
    pending_births: int = 0
    pending_gaps: int = 0
    """Losses that are journalled and not yet stored by a collector."""
    dropped_records: int = 0
    """Records of living files that were dropped because more waited than may: in gaps as well."""
    gap_count: int = 0
    gaps: list[GapAccount] = []
    """The latest of them."""
    bug_count: int = 0
    """Sessions that an error of the agent's own has ended."""
    troubles: list[str] = []
    """What it said in the last hour that has not been settled since."""
    files: list[FileAccount] = []
    probes: list[ProbeAccount] = []
    probe_threads_held: int = 0
    """Threads that are in a look."""


def of_followed(followed: Followed, now_s: float) -> FileAccount:
    """Describe a followed file; ``now_s`` is monotonic."""
    tail = followed.tail
    stream, status = tail.stream, None
    with suppress(OSError):
        status = tail.status() if followed.has_file else None
    return FileAccount(
        path=followed.path,
        state="ended" if followed.ended else "followed",
        service=stream.service,
        worker=stream.worker,
        stream_id=stream.stream_id,
        found=followed.present,
        deleted=status is not None and status.st_nlink == 0,
        device=stream.device,
        inode=stream.inode,
        head_bytes=stream.head_bytes,
        start_offset=stream.start_offset,
        committed=tail.acknowledged,
        read=tail.position,
        size=status.st_size if status is not None else tail.size,
        behind_bytes=followed.backlog_bytes,
        behind_ms=followed.backlog_age_ms(now_s),
        unfinished_bytes=tail.partial_bytes,
        prepared_bytes=tail.padding_bytes,
        dropped_records=tail.sifter.dropped,
        format=tail.parser.choice,
        multiline="off" if followed.found.source is None else followed.found.source.multiline,
        encoding=tail.parser.encoding,
    )


def of_candidate(candidate: Candidate) -> FileAccount:
    """Describe a file that is no stream yet."""
    size = candidate.size()
    return FileAccount(
        path=candidate.found.path,
        state="waiting",
        device=candidate.device,
        inode=candidate.inode,
        size=size,
        behind_bytes=size,
    )


def gathered(
    question: Question,
    followed: Collection[Followed],
    candidates: Collection[Candidate],
    now_s: float,
    *,
    gap_count: int = 0,
    **told: Any,
) -> Account:
    """Sum up all files, and describe those that are asked for; ``told`` is the rest.

    ``gap_count``: gaps besides those that are told with the very batch that passes over them.
    """
    files = [of_followed(one, now_s) for one in followed]
    files += map(of_candidate, candidates)
    return Account(
        **told,
        file_count=len(followed),
        closed_count=sum(one.has_file and not one.tail.is_open for one in followed),
        waiting_count=len(candidates),
        backlog_bytes=sum(one.behind_bytes for one in files),
        deleted_bytes=sum(one.behind_bytes for one in files if one.deleted),
        dropped_records=sum(one.dropped_records for one in files),
        gap_count=gap_count + sum(one.tail.sifter.gap_count for one in followed),
        files=select(files, question.path, (question.device, question.inode)),
    )


def select(files: Iterable[FileAccount], path: str, key: tuple[int, int]) -> list[FileAccount]:
    """Return the accounts of one file, by path or by device and inode; all for an empty path."""
    if path:
        found = [f for f in files if f.path == path or (f.device, f.inode) == key]
    else:
        found = list(files)
    found.sort(key=lambda f: -f.behind_bytes)
    return found[:MOST_FILES]
