"""Files that a look has found, open: candidates without a stream, and those that are followed.

A file is what the kernel calls it (device and inode), wherever it lies by now.
"""

from __future__ import annotations

import fnmatch
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from outrider import severity as severities
from outrider_agent import discovery
from outrider_agent.discovery import Found
from outrider_agent.file_history import FileHistory
from outrider_agent.registry import Candidate, is_copy_of, open_candidate
from outrider_agent.rotated_names import rotated_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from outrider_agent.configuration import SourceConfig
    from outrider_agent.descriptors import Descriptors
    from outrider_agent.followed import Followed
    from outrider_agent.registry import Minter
    from outrider_agent.reports import Reports

_TICK_S = 0.02
"""A file system's clock may be so far behind."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look saw at a path."""

    key: tuple[int, int]
    mtime_ns: int


class FoundFiles:
    """Finds files and keeps them open; ``key`` is that of the digests."""

    def __init__(
        self,
        finder: discovery.Discovery,
        minter: Minter,
        key: bytes,
        reports: Reports,
        max_files: int,
        descriptors: Descriptors,
    ) -> None:
        self._finder = finder
        self._minter = minter
        self._key = key
        self._reports = reports
        self._max_files = max_files
        self.descriptors = descriptors
        self._left_out: list[str] = []
        """What the last look found and had no descriptor for."""
        self.known: dict[tuple[int, int], Candidate | Followed] = {}
        """Open files by device and inode."""
        self._at: dict[str, tuple[int, int]] = {}
        """What the last look found at each path."""
        self.history = FileHistory(key)
        self._looked_s = 0.0
        self._looked_into: AbstractSet[str] = frozenset()
        """Directories of which the last look saw every file."""
        self.sights: dict[str, Sight] = {}
        """What the last look saw where sources look, opened or not."""

    @property
    def candidates(self) -> list[Candidate]:
        """Open files that are no stream yet."""
        return [entry for entry in self.known.values() if isinstance(entry, Candidate)]

    @property
    def complete(self) -> bool:
        """Whether the last look opened all that it found."""
        return self._finder.complete and not self._left_out

    def reload(self, sources: Sequence[SourceConfig], max_files: int) -> None:
        """Go by other sources; the caller looks anew."""
        self._finder.sources, self._max_files = sources, max_files
        self._looked_into = frozenset()

    def source_of(self, path: str) -> SourceConfig | None:
        """Return the source whose files have such a path; None for the inbox, and for none."""
        return self._finder.source_of(path)

    def changed(self, now_ns: int) -> bool:
        """Whether a new look would find anything else than the last."""
        return not self.complete or self._finder.changed(now_ns)

    def look(self, followed: Iterable[Followed], wall_s: float) -> None:
        """Look everywhere: open what is new, note what has gone or moved."""
        found, trouble = self._finder.look()
        for problem in trouble:
            self.say(problem.path, problem.what, problem.what_to_do)
        self.descriptors.waiting = waiting = len(self.candidates)
        self._left_out = []
        self.sights = {}
        before, since_s = self._at, self._looked_s
        # A path may be empty between two files.
        self._at = {path: key for path, key in before.items() if key in self.known}
        self._looked_s = wall_s
        seen: set[tuple[int, int]] = set()
        replaced: list[Found] = []
        for one in found:
            key = self._take(one)
            if key is None:
                continue
            self._at[one.path] = key
            seen.add(key)
            # A path that is new where all was seen may have been another's a moment ago.
            is_new = os.path.dirname(one.path) in self._looked_into  # noqa: PTH120  a string
            if one.source is not None and before.get(one.path, None if is_new else key) != key:
                replaced.append(one)
        self._take_between(replaced, since_s)
        self._looked_into = self._finder.directories if self.complete else frozenset()
        if self._left_out and self.descriptors.waiting == waiting:
            self._say_left_out()
        for file in followed:
            was_present = file.present
            file.present = file.key in seen or not self._is_gone(file)
            if not file.present and not file.kept and file.has_file:
                _secure(file, at_once=was_present)
        for candidate in self.candidates:
            if candidate.key not in seen and candidate.size() == 0:
                # Gone before its first byte.
                os.close(candidate.fd)
                del self.known[candidate.key]

    def _say_left_out(self) -> None:
        """Report files for which there is no descriptor, and none came free since the last look."""
        count = len(self._left_out)
        self._reports.say(
            "too many open",
            f"{count} files wait, such as {self._left_out[0]}: too many files are open: raise the "
            "limit of open files; they are read when others are delivered",
            event="pipeline.rejected",
            severity=severities.WARN,
            files=count,
        )

    def _is_gone(self, followed: Followed) -> bool:
        """Whether a file that the look did not find is not where it was, or not wanted any more.

        A directory that cannot be listed tells nothing: no descriptor left, no permission, an error
        of the file system. A stream that ended then would be read anew from its beginning.
        """
        found = followed.found
        wanted = found.source is None or found.source in self._finder.sources
        if not found.listed or not wanted:
            return True
        try:
            status = os.stat(found.path, follow_symlinks=found.source is not None)  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return not _was_renamed(followed)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) != followed.key and not _was_renamed(followed)

    def _take_between(self, replaced: Iterable[Found], since_s: float) -> None:
        """Open what was made and renamed at paths since the last look: rotated more than once."""
        listings: dict[str, list[str]] = {}
        for found in replaced:
            directory = os.path.dirname(found.path)  # noqa: PTH120  a string
            if directory not in listings:
                try:
                    listings[directory] = sorted(discovery.siblings([found.path]))
                except OSError:  # Generations asks for them until it went without
                    return
            for path in rotated_names(found.path, listings[directory]):
                with suppress(OSError):
                    self._take_if_young(path, found, since_s)

    def _take_if_young(self, path: str, home: Found, since_s: float) -> None:
        status = os.stat(path, follow_symlinks=False)  # noqa: PTH116  a string
        if status.st_mtime < since_s - _TICK_S or (status.st_dev, status.st_ino) in self.known:
            return
        if not self._is_stored(path, status) and not self.is_copy(path, home.path):
            known = self.is_copy(path, home.path, proved=False)
            self.take_generation(Found(path, home.source, named=home.path), replayed=known)

    def _is_stored(self, path: str, status: os.stat_result) -> bool:
        """Whether a file has nothing that is not known to be stored. Raises OSError."""
        return 0 < status.st_size <= self.history.known_at(path, status).begin

    def directory_ns(self, path: str) -> int:
        """Modification time of a path's directory before the last look; 0 where it was not seen."""
        return self._finder.directory_ns(path)

    def is_free(self, path: str) -> bool:
        """Whether no source finds a file by its own name."""
        source = self._finder.source_of(path)
        return source is None or discovery.excluded(path, source)

    def take_generation(self, found: Found, *, replayed: bool) -> bool:
        """Open a file that was renamed before anybody opened it; whether that went."""
        candidate = self.known.get(self._take(found) or (0, 0))
        if replayed and isinstance(candidate, Candidate) and not candidate.begin:
            candidate.replay_below = candidate.size()
        return candidate is not None

    def is_copy(self, path: str, home: str, *, proved: bool = True) -> bool:
        """Whether a file has what one of ``home`` has, or had when its stream ended: a backup.

        ``proved``: by bytes that are hardly in another file too. Raises OSError.
        """
        fd, _ = discovery.open_regular(path, follow_links=False)
        try:
            return self.history.has_content(fd, proved=proved) or is_copy_of(
                fd, self._key, home, self.known.values(), proved=proved
            )
        finally:
            os.close(fd)

    def _take(self, found: Found) -> tuple[int, int] | None:
        """Open a found file unless it is open already; return what it is to the kernel."""
        try:
            status = os.stat(found.path, follow_symlinks=found.source is not None)  # noqa: PTH116
            key = (status.st_dev, status.st_ino)
            if found.listed and found.source is not None:
                self.sights[found.path] = Sight(key, status.st_mtime_ns)
            known = self.known.get(key)
            if known is not None and not _is_same(known, found):
                del self.known[known.key]
                known = None
            if known is not None:
                if not isinstance(known, Candidate):
                    self._found_again(known, found)
                known.found = found
                return known.key
            if found.source is not None and _is_own_output(status):
                return None  # what the agent says would make it say more
            if len(self.known) >= self._max_files:
                self.say(found.path, "too many files are followed", "raise `agent.max_files`")
                return None
            if not self.descriptors.have_room():
                self._left_out.append(found.path)
                return None
            candidate = self._open(found)
        except FileNotFoundError:
            return None  # vanished between the listing and now
        except OSError as error:
            if discovery.is_exhausted(error):
                self._left_out.append(found.path)
            self.say_why(found.path, error)
            return None
        if candidate.key in self.known:
            os.close(candidate.fd)
        else:
            self.known[candidate.key] = candidate
            if self._reports.settle(f"cannot read {found.path}"):
                self._reports.say(f"can read {found.path}", f"now readable: {found.path}")
        return candidate.key

    def _open(self, found: Found) -> Candidate:
        """Open a file that goes on where what is known of it is stored. Raises OSError."""
        candidate = open_candidate(found)
        try:
            known = self.history.known_as(candidate.fd, at_a_path=found.listed)
        except OSError:
            os.close(candidate.fd)
            raise
        candidate.begin, candidate.replay_below = known.begin, known.replay_below
        self.descriptors.waiting += 1
        return candidate

    def _found_again(self, followed: Followed, found: Found) -> None:
        before = followed.found.source
        if followed.segment is not None:
            followed.segment.path = found.path
        elif found.source is not None and found.source != before:
            followed.tail.parser = self._minter.parser(found.source, followed.tail.fd)

    def say_why(self, path: str, error: OSError) -> None:
        """Report why a file cannot be read, until it can."""
        self.say(path, (error.strerror or str(error)).lower(), discovery.advice(error, path))

    def say(self, path: str, what: str, what_to_do: str) -> None:
        """Report a file that cannot be read, until it can."""
        self._reports.say(
            f"cannot read {path}",
            f"cannot read: {path}: {what}: {what_to_do}",
            event="pipeline.rejected",
            severity=severities.WARN,
            path=path,
        )

    def left(self, followed: Followed) -> None:
        """Forget a file whose stream goes on in a copy, but for what it looked like."""
        self.known.pop(followed.key, None)
        self.history.moved(followed)

    def delivered(self, followed: Followed) -> None:
        """Forget a file whose stream has ended, but for what it looked like."""
        if self.known.get(followed.key) is followed:  # of one that is gone it may be another's
            del self.known[followed.key]
        with suppress(OSError):
            self.history.ended(followed)


def _was_renamed(followed: Followed) -> bool:
    """Whether a file has another name by now that its source wants, in the same directory.

    A listing may miss a file that is renamed meanwhile under either name, and rotation renames many
    in a row. The kernel knows the name. A stream that ended here would be read anew, and a second
    time, by the next process.
    """
    found = followed.found
    if found.source is None:
        return False
    directory = os.path.dirname(found.path)  # noqa: PTH120  a string
    try:
        path = os.readlink(f"/proc/self/fd/{followed.tail.fd}")  # noqa: PTH115  a string
        name = os.path.join(directory, os.path.basename(path))  # noqa: PTH118, PTH119  strings
        status = os.stat(name, follow_symlinks=False)  # noqa: PTH116  a string
    except OSError:
        return False
    wanted = any(fnmatch.fnmatchcase(name, pattern) for pattern in found.source.paths)
    wanted = wanted and not discovery.excluded(name, found.source)
    if (status.st_dev, status.st_ino) != followed.key or not wanted:
        return False
    followed.found = replace(found, path=name)
    return True


def _is_same(known: Candidate | Followed, found: Found) -> bool:
    """Whether a file with a known inode is the known file; marks that one as gone if not.

    An open file keeps its inode, and one that has its name is read with the bytes before.
    """
    if isinstance(known, Candidate) or known.tail.is_open or found.path == known.path:
        return True
    fd, _ = discovery.open_regular(found.path, follow_links=found.source is not None)
    try:
        known.gone = not known.tail.is_in(fd)
    finally:
        os.close(fd)
    return not known.gone


def _secure(followed: Followed, *, at_once: bool) -> None:
    """Open a file that is closed and that no source finds any more, while it has a name at all.

    ``at_once``: since this look; later only where its name has changed.
    """
    tail = followed.tail
    try:
        if not at_once:
            with suppress(FileNotFoundError):
                tail.status()
                return
        _ = tail.fd
    except FileNotFoundError:
        followed.gone = True
    except OSError:
        return


def _is_own_output(status: os.stat_result) -> bool:
    """Whether a file is the agent's own standard output or error."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if os.path.samestat(status, os.fstat(descriptor)):
                return True
    return False
