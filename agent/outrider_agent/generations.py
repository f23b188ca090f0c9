"""Generations: what was born and renamed at a path where nobody looked meanwhile.

No process runs, no collector has said welcome, or no descriptor is free: then rotation may give a
path several files, one after the other, and only the last of them is found there. The others lie
beside it, under names that begin with the path's. Of each path is remembered which file was there
when it last was a stream, and a time before which nothing can have been born that was not seen: the
later of the file's and its directory's own modification times, so no clock but the file system's
is asked. What is younger and has the bytes of no known stream is read from its beginning.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from outrider_agent import discovery, state
from outrider_agent.discovery import Found
from outrider_agent.file_history import as_left
from outrider_agent.registry import Candidate
from outrider_agent.rotated_names import rotated_names
from outrider_agent.state import Seen

if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from pathlib import Path

    from outrider_agent.file_history import FileHistory
    from outrider_agent.followed import Followed
    from outrider_agent.found_files import FoundFiles
    from outrider_agent.state import State
    from outrider_agent.streams import Stream

MOST_AT_ONCE = 1000
"""So many generations of a path are taken up in one look; the others in the next ones."""

_MOST_PATHS = 20_000
_TICK_NS = 20_000_000
"""A file system's clock may be so far behind."""


class Generations:
    """Of which paths what is accounted for; kept in the agent's cache."""

    def __init__(self) -> None:
        self.paths: dict[str, Seen] = {}
        self.changed = False
        """Whether something is to be remembered that was not saved yet."""
        self._unfinished: set[str] = set()

    def read(self, cache: State) -> None:
        """Take up what an earlier process knew."""
        self.paths = {os.fsdecode(path): seen for path, seen in cache.paths.items()}

    def save(
        self,
        path: Path,
        cache: State,
        followed: Iterable[Followed],
        births: Container[int],
        history: FileHistory,
    ) -> None:
        """Write the cache; ``births`` are streams of which Postgres may not know.

        What no source finds any more may end after this: by the ``history`` the next process can
        tell that it was a stream. Where there is no room for that, only what has no name by which
        it could be met.
        """
        cache.paths = {os.fsencode(name): seen for name, seen in self.paths.items()}
        left = [one for one in followed if not one.present and one.segment is None]
        history.save(cache, {one.key: as_left(one) for one in left if one.stream_id not in births})
        self.changed = False
        saved = state.save(path, cache)
        for one in left:
            one.remembered = saved or one.has_no_name

    def left_behind(self, followed: Iterable[Followed]) -> None:
        """Take note of what no source finds any more, after a look."""
        for one in followed:
            if one.present:
                one.remembered = False
            elif not one.remembered:
                self.changed = True

    def remember(self, followed: Followed) -> None:
        """Take note of a stream that was found again elsewhere than at its path."""
        stream = followed.tail.stream
        with suppress(OSError):
            mtime_ns = followed.tail.status().st_mtime_ns
            seen = Seen(*followed.key, stream.stream_id, mtime_ns)
            self.paths.setdefault(stream.path, seen)

    def take(self, files: FoundFiles, births: Iterable[Stream]) -> None:
        """Open what was born and renamed meanwhile; all streams were found again before.

        ``births`` are streams that a journal names and Postgres may not know.
        """
        self._unfinished = set(self.paths)
        try:
            _seek(births, files)
        except OSError:  # nothing is known of what was not found for want of descriptors
            return
        homes = {
            known.stream_id: known.key
            for known in files.known.values()
            if not isinstance(known, Candidate)
        }
        listings: dict[str, list[str]] = {}
        for path, seen in list(self.paths.items()):
            sight = files.sights.get(path)
            is_there = sight is not None and sight.key == seen.key
            if is_there and homes.get(seen.stream_id, seen.key) == seen.key:
                self._unfinished.discard(path)
                continue
            try:
                if self._take_of(path, seen, files, listings):
                    self._unfinished.discard(path)
            except OSError:  # as above
                return

    def note(self, files: FoundFiles, *, placed: bool) -> None:
        """Take note of what a look saw; ``placed``: all that was born meanwhile was taken up."""
        for path, sight in files.sights.items():
            known = files.known.get(sight.key)
            stream_id = 0 if known is None or isinstance(known, Candidate) else known.stream_id
            settled = stream_id or (isinstance(known, Candidate) and not known.size())
            if placed and settled and path not in self._unfinished:
                since_ns = max(sight.mtime_ns, files.directory_ns(path))
                self._set(path, Seen(*sight.key, stream_id, since_ns))
            elif path not in self.paths:
                self._set(path, Seen(*sight.key, 0, sight.mtime_ns))
        if placed:
            for path in self.paths.keys() - files.sights.keys() - self._unfinished:
                seen = self.paths[path]
                since_ns = max(seen.since_ns, files.directory_ns(path))
                self._set(path, msgspec.structs.replace(seen, since_ns=since_ns))
        while len(self.paths) > _MOST_PATHS:
            del self.paths[next(iter(self.paths))]

    def _set(self, path: str, seen: Seen) -> None:
        if self.paths.get(path) != seen:
            # The latest ones last.
            self.paths.pop(path, None)
            self.paths[path] = seen
            self.changed = True

    def _take_of(
        self, path: str, seen: Seen, files: FoundFiles, listings: dict[str, list[str]]
    ) -> bool:
        """Open the generations of a path; whether there are no more of them.

        Raises OSError where no descriptor is left to look with.
        """
        source = files.source_of(path)
        if source is None:
            return True
        directory = os.path.dirname(path)  # noqa: PTH120  a string
        if directory not in listings:
            listings[directory] = sorted(discovery.siblings([path]))
        young: list[tuple[int, str]] = []
        for sibling in rotated_names(path, listings[directory]):
            with discovery.unless_exhausted():
                status = os.stat(sibling, follow_symlinks=False)  # noqa: PTH116  a string
                key = (status.st_dev, status.st_ino)
                if (
                    status.st_mtime_ns >= seen.since_ns - _TICK_NS
                    and status.st_size
                    and key not in files.known
                    and files.is_free(sibling)
                    and not files.history.known_at(sibling, status).begin
                ):
                    young.append((status.st_mtime_ns, sibling))
        young.sort()
        for _, sibling in young[:MOST_AT_ONCE]:
            with discovery.unless_exhausted():
                if files.is_copy(sibling, path):
                    continue
                # It was a stream, which ended otherwise than by its end: it may be stored.
                replayed = bool(seen.stream_id) and _key_of(sibling) == seen.key
                replayed = replayed or files.is_copy(sibling, path, proved=False)
                if not files.take_generation(Found(sibling, source, named=path), replayed=replayed):
                    return False
        return len(young) <= MOST_AT_ONCE


def _seek(births: Iterable[Stream], files: FoundFiles) -> None:
    """Open the files of streams of which nothing was sent, whatever they are called by now."""
    missing = {(s.device, s.inode): s.path for s in births if s.source == "file"}
    missing = {key: path for key, path in missing.items() if key not in files.known}
    for path in discovery.with_keys(discovery.siblings(missing.values()), missing.keys()):
        with suppress(OSError):
            home = missing[_key_of(path)]
            if (source := files.source_of(home)) is not None:
                files.take_generation(Found(path, source, named=home), replayed=False)


def _key_of(path: str) -> tuple[int, int]:
    status = os.stat(path, follow_symlinks=False)  # noqa: PTH116  a string
    return status.st_dev, status.st_ino
