"""What files were before they are found (again): streams that ended, or copies of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from outrider_agent.state import Copied, Delivered, Left

if TYPE_CHECKING:
    from outrider_agent.state import State
    from outrider_agent.streams import Place

_MOST_FILES = 4000

Known = TypeVar("Known")


class FileHistory:
    """What is remembered by device and inode, which the kernel gives again to other files."""

    def __init__(self) -> None:
        self.delivered: dict[tuple[int, int], Delivered] = {}
        """Files whose streams have ended, the latest ones."""
        self.copied: dict[tuple[int, int], Copied] = {}
        """Files that may be copies of others, the latest ones."""
        self.left: dict[tuple[int, int], Left] = {}
        """What an earlier process knew of, and had a stream of, that was to end."""

    def read(self, cache: State) -> None:
        """Take up what an earlier process knew."""
        self.delivered, self.copied = dict(cache.delivered), dict(cache.copied)
        self.left = dict(cache.left)

    def ended(self, key: tuple[int, int], delivered: Delivered) -> None:
        """Remember what a file is now that its stream has ended; all before holds no more."""
        _keep_latest(self.delivered, key, delivered)
        self.copied.pop(key, None)
        self.left.pop(key, None)

    def note_copy(self, key: tuple[int, int], place: Place) -> None:
        """Remember a file that has what was stored of one that was truncated."""
        _keep_latest(self.copied, key, Copied(place.committed, place.digest))


def _keep_latest(files: dict[tuple[int, int], Known], key: tuple[int, int], known: Known) -> None:
    files.pop(key, None)
    files[key] = known
    if len(files) > _MOST_FILES:
        del files[next(iter(files))]
