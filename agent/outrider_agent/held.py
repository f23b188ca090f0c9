"""Files without a name: rotated away and deleted, and not delivered yet.

While the agent runs, their bytes live by its open descriptor alone, and take room on a disk where
nobody can see them. So they are bounded (``held_bytes``, ``keep_free_bytes``); beyond that the
oldest are given up, as gaps, unless their source says ``when_full = "block"``.

When the agent stops, the descriptor goes. What is not acknowledged is copied to ``keep/`` in the
state directory before, under the stream's id: a file with holes, which has the bytes that find the
stream again (its head, and the tail before the committed offset) and the rest at their own offsets.
The next process finds the stream in it as in any other file, and removes it when it is delivered.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from outrider import severity as severities
from outrider_agent.digests import tail_length
from outrider_agent.endings import has_writer
from outrider_agent.journal import sync_directory

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from pathlib import Path

    from outrider_agent.configuration import AgentConfig
    from outrider_agent.followed import Followed
    from outrider_agent.registry import Candidate
    from outrider_agent.reports import Reports

KEEP = "keep"
"""Directory within the state directory for copies of such files."""

_PIECE_BYTES = 1 << 20

F = TypeVar("F", "Followed", "Candidate")
H = TypeVar("H", bound="Held[Any]")


@dataclass(frozen=True, slots=True)
class Held(Generic[F]):
    """A file that has no name any more."""

    file: F
    size_bytes: int
    """What it has that Postgres does not have."""
    mtime_ns: int
    free_bytes: int
    """Room for others on its file system."""

    @property
    def blocks(self) -> bool:
        """Whether its source keeps it whatever it costs."""
        source = self.file.found.source
        return source is not None and source.when_full == "block"


class HeldFiles:
    """What is held of files without a name, within the limits of the configuration."""

    def __init__(self, agent: AgentConfig, directory: Path, reports: Reports) -> None:
        self.limits = agent
        """May be replaced."""
        self._directory = directory
        self._reports = reports

    def beyond_limits(
        self, files: Iterable[Followed], waiting: Iterable[Candidate]
    ) -> list[Followed | Candidate]:
        """Return the files to be given up now; ``waiting`` are no streams yet."""
        # Also what was read to its end: while the store holds, what was read is to be read again.
        found: list[Held[Followed] | Held[Candidate]] = []
        found += held(files)
        found += [one for one in map(_of_candidate, waiting) if one is not None]
        found = beyond(found, self.limits.held_bytes, self.limits.keep_free_bytes)
        return [one.file for one in found]

    def keep(self, files: Iterable[Followed]) -> None:
        """Copy what would be gone with this process, the oldest first, as far as there is room."""
        room = self.limits.held_bytes
        for one in sorted(held(files), key=lambda one: one.mtime_ns):
            room -= one.size_bytes
            reason = f"it is beyond the {self.limits.held_bytes} bytes of `agent.held_bytes`"
            if room >= 0:
                try:
                    keep(one.file, self._directory)
                except OSError as error:
                    reason = (error.strerror or str(error)).lower()
                else:
                    continue
            self._reports.say(
                f"keep {one.file.path}",
                f"cannot keep {one.size_bytes} bytes of a deleted file over the stop: "
                f"{one.file.path}: {reason}: they become a gap",
                event="pipeline.dropped",
                severity=severities.ERROR,
                path=one.file.path,
            )

    def copied(self, followed: Followed) -> str | None:
        """Copy what is not delivered of a file that got its last byte; None where it may not be.

        Raises OSError.
        """
        fd = followed.tail.fd
        size_bytes = os.fstat(fd).st_size - followed.tail.acknowledged
        if kept_bytes(self._directory) + size_bytes > self.limits.held_bytes:
            return None
        if has_writer(fd) is not False:
            return None
        # Without it a power failure would take the file as well.
        return keep(followed, self._directory, sync=False)

    def discard(self, path: str) -> None:
        """Remove a copy that is delivered; any other file is left alone."""
        if os.path.dirname(path) == str(self._directory):  # noqa: PTH120  a string
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108


def held(files: Iterable[Followed]) -> list[Held[Followed]]:
    """Return the files without a name of which something is not delivered."""
    found: list[Held[Followed]] = []
    for followed in files:
        if followed.present or followed.kept or not followed.has_file:
            continue
        with suppress(OSError):  # it was closed, and is nowhere
            one = _of(followed, followed.tail.fd, followed.tail.acknowledged)
            if one is not None:
                found.append(one)
    return found


def _of(file: F, fd: int, acknowledged: int) -> Held[F] | None:
    """Describe a file; None for one that has a name, or nothing that Postgres has not."""
    status = os.fstat(fd)
    size_bytes = status.st_size - acknowledged
    if status.st_nlink or size_bytes <= 0:
        return None
    room = os.fstatvfs(fd)
    return Held(file, size_bytes, status.st_mtime_ns, room.f_bavail * room.f_frsize)


def _of_candidate(candidate: Candidate) -> Held[Candidate] | None:
    return _of(candidate, candidate.fd, 0)


def is_deleted(candidate: Candidate) -> bool:
    """Whether a file that is no stream yet has no name any more, and something to tell."""
    return _of_candidate(candidate) is not None


def beyond(files: Iterable[H], held_bytes: int, keep_free_bytes: int) -> list[H]:
    """Return those to be given up, the oldest first, so that the others keep to the limits."""
    oldest_first = sorted(files, key=lambda one: one.mtime_ns)
    total, freed = sum(one.size_bytes for one in oldest_first), 0
    given_up: list[H] = []
    for one in oldest_first:
        is_over = total - freed > held_bytes or one.free_bytes + freed < keep_free_bytes
        if is_over and not one.blocks:
            given_up.append(one)
            freed += one.size_bytes
    return given_up


def keep(followed: Followed, directory: Path, *, sync: bool = True) -> str:
    """Copy what is not acknowledged, and what finds the stream in it; return where to.

    ``sync``: so that it outlasts a power failure. What is there of a copy that was cut short is
    never taken for one. Raises OSError.
    """
    tail = followed.tail
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / str(tail.stream.stream_id)
    draft = path.with_suffix(".draft")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        begin = tail.acknowledged - tail_length(tail.acknowledged)
        copy(tail.fd, fd, 0, min(tail.stream.head_bytes, begin))
        copy(tail.fd, fd, begin, os.fstat(tail.fd).st_size)
        if sync:
            os.fsync(fd)
        draft.replace(path)
        if sync:
            sync_directory(directory)
    finally:
        os.close(fd)
        draft.unlink(missing_ok=True)
    return str(path)


def kept_bytes(directory: Path, but: Container[str] = ()) -> int:
    """Return how much room copies take, without those of these names."""
    try:
        with os.scandir(directory) as entries:
            counted = (entry for entry in entries if entry.name not in but)
            return sum(entry.stat().st_blocks * 512 for entry in counted)
    except OSError:
        return 0


def copy(source: int, target: int, begin: int, end: int) -> None:
    """Copy bytes of one file to the same place in another, as far as there are any."""
    while begin < end:
        data = os.pread(source, min(_PIECE_BYTES, end - begin), begin)
        if not data:
            return
        begin += os.pwrite(target, data, begin)


def kept(directory: Path) -> dict[int, str]:
    """Return the copies that an earlier process left, by their streams."""
    try:
        with os.scandir(directory) as entries:
            return {int(entry.name): entry.path for entry in entries if entry.name.isdecimal()}
    except OSError:
        return {}
