"""Finding files: the globs of sources and the inbox, and whether to look again.

A full look lists directories; between full looks only the modification times of the directories
are compared, which tells of every name that was added, removed or changed. A directory that
changed just now may change again within the same tick of the file system's clock, so it counts as
changed until it has been quiet.
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from outrider_agent.configuration import SourceConfig

CLOSING = "closing"
"""Directory within the inbox for segments that are retired."""

_WILD = "*?["
_TICK_NS = 20_000_000
# What rotation leaves behind: the same lines once more, not readable as lines. What was not
# delivered of them is found by outrider_agent.unpacking.
COMPRESSED = (".gz", ".xz", ".zst", ".bz2", ".zip", ".lz4")
_MAX_FOUND = 100_000
_MOST_SEARCHES = 4


@dataclass(frozen=True, slots=True)
class Found:
    """A file that is to be followed. ``source`` is None for the inbox."""

    path: str
    source: SourceConfig | None
    closing: bool = False
    listed: bool = False
    """Whether a look found it by a glob or in the inbox; else it lies beside such a file."""
    named: str = ""
    """Where it was before rotation renamed it, if that is known: its stream is called so."""

    @property
    def home(self) -> str:
        """The path by which its stream is named."""
        return self.named or self.path


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that a user should hear of, once."""

    path: str
    what: str
    what_to_do: str


class Discovery:
    """Looks for files. ``sources`` in the order of the configuration: the first that fits wins."""

    def __init__(
        self, sources: Sequence[SourceConfig], inbox: Path, state_dir: Path | None = None
    ) -> None:
        self.sources = sources
        """May be replaced; the next look goes by them."""
        self._inbox = inbox
        self._own = () if state_dir is None else (f"{state_dir}/",)
        self._seen: dict[str, int] = {}
        self.complete = True
        """Whether the last look was not cut short by a want of descriptors."""

    @property
    def directories(self) -> AbstractSet[str]:
        """What the last look listed; stays so when there is another."""
        return self._seen.keys()

    def changed(self, now_ns: int) -> bool:
        """Whether a directory that was listed has changed since, or may have."""
        return any(
            _mtime_ns(path) != mtime_ns or now_ns - mtime_ns < _TICK_NS
            for path, mtime_ns in self._seen.items()
        )

    def look(self) -> tuple[list[Found], list[Trouble]]:
        """List every file there is now, each once, and what is wrong with any path."""
        self._seen = {}
        self.complete = has_descriptor()
        found: dict[str, Found] = {}
        trouble: list[Trouble] = []
        for name in (self._inbox, self._inbox / CLOSING):
            trouble += self._look_into(name, found, closing=name.name == CLOSING)
        for source in self.sources:
            for pattern in source.paths:
                paths = self.expand(pattern)
                for path in paths:
                    if path not in found and not excluded(path, source) and not self.own(path):
                        found[path] = Found(path, source, listed=True)
                if not paths:
                    trouble += why_nothing(pattern)
        # What globs could not list they take for empty.
        self.complete = self.complete and has_descriptor()
        return list(found.values())[:_MAX_FOUND], trouble

    def expand(self, pattern: str) -> list[str]:
        """Return the paths that a pattern matches, and watch the directories it looked into."""
        for directory in _directories(pattern):
            self._watch(directory)
        if not any(c in pattern for c in _WILD):
            return [pattern] if os.path.lexists(pattern) else []
        return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207  patterns are absolute

    def own(self, path: str) -> bool:
        """Whether a path is the agent's own business: its state, or another name of the inbox."""
        return path.startswith((*self._own, f"{self._inbox}/"))

    def source_of(self, path: str) -> SourceConfig | None:
        """Return the first source with a pattern that such a path would match, there or not."""
        fitting = (s for s in self.sources if any(fnmatch.fnmatchcase(path, p) for p in s.paths))
        return None if self.own(path) else next(fitting, None)

    def directory_ns(self, path: str) -> int:
        """Modification time of a path's directory before the last look listed it; 0: not known."""
        return self._seen.get(os.path.dirname(path), 0)  # noqa: PTH120  a string

    def absent(self, pattern: str) -> str:
        """Say what is not there yet of a pattern that matches nothing."""
        directory = _directories(pattern)[0]
        if not os.path.isdir(directory):  # noqa: PTH112  strings stay strings
            return f"there is no directory {directory} yet"
        return "none is there yet"

    def _look_into(
        self, directory: Path, found: dict[str, Found], *, closing: bool
    ) -> list[Trouble]:
        self._watch(str(directory))
        try:
            names = _names_in_closing(directory) if closing else _names(directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            self.complete = self.complete and not is_exhausted(error)
            if not closing:
                return []
            what = (error.strerror or str(error)).lower()
            return [Trouble(str(directory), what, closing_advice(error))]
        for name in sorted(names):
            path = str(directory / name)
            found[path] = Found(path, None, closing=closing, listed=True)
        return []

    def _watch(self, directory: str) -> None:
        if directory not in self._seen and len(self._seen) < 10_000:
            self._seen[directory] = _mtime_ns(directory)


def excluded(path: str, source: SourceConfig) -> bool:
    """Whether a source leaves a matching path alone."""
    return path.endswith(COMPRESSED) or any(
        fnmatch.fnmatchcase(path, pattern) for pattern in source.exclude
    )


def siblings(paths: Iterable[str]) -> list[str]:
    """Return every regular file in the directories of ``paths``: what rotation may have renamed.

    Raises OSError where no descriptor is left to look with: that is not an empty directory.
    """
    result: list[str] = []
    for directory in sorted({os.path.dirname(path) for path in paths}):  # noqa: PTH120  strings stay strings
        try:
            with os.scandir(directory) as entries:
                result += [e.path for e in entries if e.is_file(follow_symlinks=False)]
        except OSError as error:
            if is_exhausted(error):
                raise
            continue
        if len(result) > _MAX_FOUND:
            break
    return [path for path in result if not path.endswith((*COMPRESSED, ".slot"))]


def until_at_rest(paths: Iterable[str]) -> Iterator[None]:
    """Let the directories of ``paths`` be searched, and again where names changed meanwhile.

    What rotation renames during a search may be met under neither name. Never without end: names
    may change faster than anybody searches.
    """
    directories = {os.path.dirname(path) for path in paths}  # noqa: PTH120  strings stay strings
    for _ in range(_MOST_SEARCHES):
        before = [_mtime_ns(directory) for directory in directories]
        yield
        if [_mtime_ns(directory) for directory in directories] == before:
            return


def with_keys(paths: Iterable[str], keys: AbstractSet[tuple[int, int]]) -> list[str]:
    """Return those of the paths that are now one of these files, by device and inode."""
    result = []
    for path in paths:
        with suppress(OSError):
            status = os.stat(path, follow_symlinks=False)  # noqa: PTH116  a string
            if (status.st_dev, status.st_ino) in keys:
                result.append(path)
    return result


def open_regular(
    path: str, *, follow_links: bool, mode: int = os.O_RDONLY
) -> tuple[int, os.stat_result]:
    """Open a regular file. Raises OSError; IsADirectoryError for any other kind.

    Never waits: a FIFO planted under the name would hold the disk thread for ever.
    """
    flags = mode | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow_links else os.O_NOFOLLOW)
    fd = os.open(path, flags)
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise IsADirectoryError(21, f"it is {kind}", path)
    return fd, status


def open_closing(inbox: int) -> int:
    """Open the directory ``closing`` in that of a descriptor: one of the agent's own, no link.

    Raises OSError: whoever may write into the inbox could send segments elsewhere else.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(CLOSING, flags, dir_fd=inbox)
    except OSError as error:
        if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
            raise
        raise NotADirectoryError(errno.ENOTDIR, "it is no directory, or a link", CLOSING) from None
    owner = os.fstat(fd).st_uid
    if owner != os.geteuid():
        os.close(fd)
        raise PermissionError(errno.EPERM, f"it is of account {owner}, not the agent's", CLOSING)
    return fd


def closing_advice(error: OSError) -> str:
    """Say what to do about a ``closing`` that cannot be used."""
    if is_exhausted(error):
        return "raise the limit of open files"
    return "let the agent's account own it, or move it away: the agent makes a directory there"


def _names_in_closing(directory: Path) -> list[str]:
    inbox = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        closing = open_closing(inbox)
    finally:
        os.close(inbox)
    try:
        return _names(closing)
    finally:
        os.close(closing)


def _names(directory: Path | int) -> list[str]:
    with os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.name.endswith(".jsonl")]


def is_exhausted(error: OSError) -> bool:
    """Whether no descriptor was left: then nothing is known of what was to be opened."""
    return error.errno in {errno.EMFILE, errno.ENFILE}


@contextmanager
def unless_exhausted() -> Iterator[None]:
    """Pass over what cannot be opened. Raises OSError where no descriptor was left."""
    try:
        yield
    except OSError as error:
        if is_exhausted(error):
            raise


def has_descriptor() -> bool:
    """Whether a descriptor is left to look with."""
    try:
        os.close(os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        return not is_exhausted(error)
    return True


def advice(error: OSError, path: str) -> str:
    """Say what to do about a file that cannot be opened."""
    if error.errno == errno.EACCES:
        return "let the agent's account read it"
    if error.errno == errno.EIO:
        return "see to the disk; name files that can be read, or exclude it"
    if is_exhausted(error):
        return "raise the limit of open files, or lower `agent.max_files`"
    if os.path.isdir(path):  # noqa: PTH112  strings stay strings
        return f"name the files in it, as in {path.rstrip('/')}/*.log"
    return "name regular files"


def _mtime_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116  in the idle loop
    except OSError:
        return 0


def _directories(pattern: str) -> list[str]:
    """Return the directories whose listing decides what a pattern matches, as they are now."""
    directory = os.path.dirname(pattern)  # noqa: PTH120  strings stay strings
    if not any(c in directory for c in _WILD):
        return [directory]
    parts = directory.split("/")
    fixed = next(i for i, part in enumerate(parts) if any(c in part for c in _WILD))
    below = glob.glob(directory + "/", recursive=True)  # noqa: PTH207  patterns are absolute
    return ["/".join(parts[:fixed]) or "/", *(path.rstrip("/") for path in below)]


def why_nothing(pattern: str) -> list[Trouble]:
    """Say why a pattern matches nothing, where a person has to do something about it."""
    directory = _directories(pattern)[0]
    try:
        with os.scandir(directory):
            return []
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        what_to_do = "let the agent's account read the directory"
        if error.errno != errno.EACCES:
            what_to_do = advice(error, directory)
        return [Trouble(directory, (error.strerror or str(error)).lower(), what_to_do)]
