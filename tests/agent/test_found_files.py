"""What a look makes of files that it cannot list, or has no descriptor for."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from datetime import UTC
from typing import TYPE_CHECKING

from outrider_agent import file_history
from outrider_agent.configuration import SourceConfig
from outrider_agent.descriptors import Descriptors
from outrider_agent.discovery import Discovery
from outrider_agent.followed import Followed
from outrider_agent.found_files import FoundFiles
from outrider_agent.registry import Candidate, Minter
from outrider_agent.reports import Reports

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

KEY = b"k" * 32


@contextmanager
def descriptors(left: int) -> Iterator[None]:
    """Leave so many descriptors to this process."""
    held = [os.open(os.devnull, os.O_RDONLY)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (held[0] + 64, hard))
    try:
        while True:
            try:
                held.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        for _ in range(left):
            os.close(held.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in held:
            os.close(fd)


class Place:
    """A directory of logs, and what looks found in it."""

    def __init__(self, root: Path) -> None:
        self.logs = root / "logs"
        self.logs.mkdir()
        self.source = SourceConfig(paths=(f"{self.logs}/*.log",), service="bots")
        self.minter = Minter(KEY, "host-1", UTC, first_start=False)
        self.said: list[str] = []
        finder = Discovery((self.source,), root / "inbox")
        reports = Reports(write=self.said.append)
        self.files = FoundFiles(finder, self.minter, KEY, reports, 100, Descriptors(100))
        self.followed: list[Followed] = []

    def look(self) -> None:
        """Look, and follow what is new."""
        self.files.look(self.followed, 0.0)
        for candidate in self.files.candidates:
            tail = self.minter.tail(candidate, self.minter.stream(candidate, 0.0))
            followed = Followed(tail, candidate.found, candidate.key)
            self.files.known[candidate.key] = followed
            self.followed.append(followed)

    @property
    def present(self) -> list[bool]:
        """Of each followed file, whether it is taken to be there."""
        return [followed.present for followed in self.followed]

    def close(self) -> None:
        """Close all."""
        for known in self.files.known.values():
            os.close(known.fd if isinstance(known, Candidate) else known.tail.fd)


def test_without_a_descriptor_nothing_is_gone_and_what_is_new_waits(tmp_path: Path) -> None:
    """A directory that cannot be listed ends no stream; the limit is named with what to do."""
    place = Place(tmp_path)
    for name in ("a.log", "b.log"):
        (place.logs / name).write_text("line\n")
    place.look()
    (place.logs / "c.log").write_text("line\n")
    (place.logs / "b.log").unlink()
    with descriptors(left=0):
        place.look()
        blind = place.present
    with descriptors(left=1):
        place.look()
        listed = place.present
        found = len(place.followed)
    (place.logs / "d.log").write_text("line\n")
    with descriptors(left=1):
        place.look()
    place.look()
    after = [followed.path for followed in place.followed]
    place.close()

    assert blind == [True, False]
    assert (listed, found) == ([True, False, True], 3)
    assert [path[-5:] for path in after] == ["a.log", "b.log", "c.log", "d.log"]
    assert any("too many open files" in said and "raise the limit" in said for said in place.said)


def test_a_source_that_is_gone_has_no_files(tmp_path: Path) -> None:
    """Unlike what cannot be listed, what nobody wants any more is absent, though it is there."""
    place = Place(tmp_path)
    (place.logs / "a.log").write_text("line\n")
    place.look()
    place.files.reload((), 100)
    place.look()
    place.close()

    assert place.present == [False]


def test_a_file_that_is_renamed_while_it_is_listed_is_not_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing that met a file under neither name ends no stream; one that moved it to where no
    source looks does.
    """
    place = Place(tmp_path)
    (place.logs / "a.log").write_text("line\n")
    place.look()
    (place.logs / "a.log").rename(place.logs / "a.1.log")
    listed = Discovery.look
    monkeypatch.setattr(Discovery, "look", lambda _: ([], []))
    place.look()
    while_renamed = place.present
    (place.logs / "a.1.log").rename(place.logs / "a.1.old")
    place.look()
    unwanted = place.present
    monkeypatch.setattr(Discovery, "look", listed)
    (place.logs / "a.1.old").rename(place.logs / "a.2.log")
    place.look()

    assert (while_renamed, unwanted, place.present) == ([True], [False], [True])
    place.close()


def test_what_is_remembered_of_files_has_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of those whose stream goes on in a copy."""
    monkeypatch.setattr(file_history, "_MOST_FILES", 2)
    place = Place(tmp_path)
    for n in range(4):
        (place.logs / f"{n}.log").write_text(f"line {n}\n")
    place.look()
    for followed in place.followed:
        place.files.left(followed)
        followed.tail.close()

    assert list(place.files.history.delivered) == [one.key for one in place.followed[2:]]
