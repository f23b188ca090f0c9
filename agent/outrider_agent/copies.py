"""Streams that go on in copies: in ``keep/``, where the file itself is deleted or compressed.

See :mod:`outrider_agent.held` for what is copied, :mod:`outrider_agent.unpacking` for what archives
have, :mod:`outrider_agent.descriptors` for files that have no name and may not stay open.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from outrider_agent import discovery, held
from outrider_agent.discovery import Found
from outrider_agent.evidence import holds, is_telling
from outrider_agent.handover import Adopt, Born
from outrider_agent.registry import open_candidate
from outrider_agent.streams import Place
from outrider_agent.unpacking import Sought

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outrider_agent.followed import Followed
    from outrider_agent.found_files import FoundFiles
    from outrider_agent.handover import Handover
    from outrider_agent.held import HeldFiles
    from outrider_agent.journal import Journal
    from outrider_agent.registry import Candidate, Orphans
    from outrider_agent.reports import Reports
    from outrider_agent.state import State
    from outrider_agent.streams import Stream
    from outrider_agent.unpacking import Unpacking


class Copies:
    """Copies that are followed; ``follow`` makes a followed file of an open one and a stream."""

    def __init__(
        self,
        key: bytes,
        directory: Path,
        *,
        found: FoundFiles,
        orphans: Orphans,
        journal: Journal,
        handover: Handover,
        reports: Reports,
        held_files: HeldFiles,
        unpacking: Unpacking,
        follow: Callable[[Candidate, Stream], Followed],
    ) -> None:
        self._key = key
        self._found = found
        self._orphans = orphans
        self._journal = journal
        self._handover = handover
        self._reports = reports
        self._held = held_files
        self._unpacking = unpacking
        self._follow = follow
        self._kept = held.kept(directory)
        """What an earlier process kept, by stream."""

    def take_up(self) -> list[Followed]:
        """Go on with what an earlier process kept of files that were deleted."""
        if not self._kept:
            return []
        fresh = []
        for stream_id, path in list(self._kept.items()):
            if not (self._found.descriptors.have_room() and discovery.has_descriptor()):
                break  # the others at the next turn
            del self._kept[stream_id]
            stream, place = self._orphans.streams.get(stream_id, (None, None))
            birth = self._journal.births.get(stream_id)
            if stream is None and birth is not None:
                known = self._known_in(path)
                stream, place = known or (birth, Place(birth.start_offset, b""))
                birth = None if known else birth
            if stream is None or place is None:
                # Delivered before the copy was removed, or of a database that knows nothing of it.
                self._unpacking.forget(stream_id)
                continue
            with suppress(OSError):
                candidate = open_candidate(Found(path, self._found.source_of(stream.path)))
                self._found.descriptors.waiting += 1
                if not holds(candidate.fd, self._key, stream, place):
                    self._close(candidate)
                    continue
                self._handover.give(Adopt(stream) if birth is None else Born(stream))
                self._orphans.streams.pop(stream.stream_id, None)
                fresh.append(self._follow_kept(candidate, stream, place))
        return fresh

    @property
    def wait(self) -> bool:
        """Whether what an earlier process kept is not taken up yet."""
        return bool(self._kept)

    def _close(self, candidate: Candidate) -> None:
        os.close(candidate.fd)
        self._found.descriptors.waiting -= 1

    def seek_in_archives(self, remembered: State) -> None:
        """Begin to seek the remaining streams in the archives beside where their files were."""
        for stream_id, (stream, place) in list(self._orphans.streams.items()):
            if self._unpacking.seek(Sought(stream, place, remembered.rested.get(stream_id, 0))):
                del self._orphans.streams[stream_id]

    def unpacked(self, sought: Sought, remembered: State) -> Followed | None:
        """Let a stream begin, or go on, in what an archive had of it; None where it had nothing."""
        try:
            if sought.followed is not None:
                return sought.followed if self._goes_on(sought.followed, sought) else None
            source = self._found.source_of(sought.stream.path)
            self._found.descriptors.have_room()  # what is kept may be closed again
            candidate = open_candidate(Found(sought.path, source))
            self._found.descriptors.waiting += 1
        except OSError:  # nothing was unpacked
            return None
        self._handover.give(Adopt(sought.stream))
        followed = self._follow_kept(candidate, sought.stream, sought.place)
        highest = remembered.acknowledged.get(followed.stream_id, 0)
        followed.tail.highest_acknowledged = highest
        self._reports.say(
            f"unpacked {followed.stream_id}",
            f"the rest of {sought.stream.path} is read from {sought.archive}, "
            f"from byte {sought.place.committed} on",
        )
        return followed

    def copy_of(self, followed: Followed, place: Place) -> Candidate | None:
        """Seek, beside a file that was truncated, the copy that has what it had before.

        What only may be one is noted: where it is read, what is stored already is marked.
        """
        stream = followed.tail.stream
        for _ in discovery.until_at_rest([followed.path]):
            for path in self._beside(followed.path):
                try:
                    candidate = open_candidate(Found(path, followed.found.source))
                except OSError:
                    continue
                if (
                    candidate.key not in self._found.known
                    and place.digest
                    and holds(candidate.fd, self._key, stream, place)
                ):
                    self._found.history.note_copy(candidate.key, place)
                    if is_telling(candidate.fd, place.committed):
                        return candidate
                os.close(candidate.fd)
        return None

    def _beside(self, path: str) -> list[str]:
        """List what lies beside a file; others are closed where there is no descriptor for it."""
        if not discovery.has_descriptor():
            self._found.descriptors.close_one()
        try:
            return discovery.siblings([path])
        except OSError as error:
            self._found.say(
                path, "no descriptor is free to seek copies", discovery.advice(error, path)
            )
            return []

    def note_copies(self, followed: Followed, place: Place) -> None:
        """Note what has the bytes of a stream that ends because its file has them no more."""
        if (candidate := self.copy_of(followed, place)) is not None:
            os.close(candidate.fd)

    def retry(self) -> None:
        """See whether there is room by now for what archives have."""
        if self._unpacking.waits:
            self._reports.say(
                "unpacking",
                "what is left of compressed files waits for room in keep/: free space there, or "
                "raise `agent.held_bytes`",
            )
        self._unpacking.retry()

    def keep_open(self, followed: Followed) -> bool:
        """Go on with a file that has no lasting name in a copy, which may be closed for a while."""
        try:
            path = self._held.copied(followed)
            if path is None:
                return False
            candidate = open_candidate(Found(path, followed.found.source))
        except OSError:
            return False
        self._found.left(followed)
        followed.tail.close()
        self.move(followed, candidate)
        followed.kept = True
        return True

    def move(self, followed: Followed, candidate: Candidate) -> None:
        """Let a stream go on in another file that has its bytes; the caller keeps the old one."""
        followed.tail.go_on_in(candidate.fd, candidate.size())
        followed.found, followed.key = candidate.found, candidate.key
        followed.present = False
        self._found.known[candidate.key] = followed
        self._found.descriptors.opened(followed)

    def _known_in(self, path: str) -> tuple[Stream, Place] | None:
        """Return the stream that Postgres has of a copy that was made before any session."""
        with suppress(OSError):
            fd, _ = discovery.open_regular(path, follow_links=False)
            try:
                for stream, place in self._orphans.streams.values():
                    if place.digest and holds(fd, self._key, stream, place):
                        return stream, place
            finally:
                os.close(fd)
        return None

    def _follow_kept(self, candidate: Candidate, stream: Stream, place: Place) -> Followed:
        followed = self._follow(candidate, stream)
        followed.tail.go_back(place, 0)
        followed.present, followed.segment, followed.kept = False, None, True
        return followed

    def _goes_on(self, followed: Followed, sought: Sought) -> bool:
        tail = followed.tail
        if sought.trouble and followed.has_file and sought.end <= tail.status().st_size:
            return False
        place, before = tail.place, tail.fd
        candidate = open_candidate(Found(sought.path, followed.found.source))
        if followed.has_file:
            os.close(before)
            self._found.known.pop(followed.key, None)
        self.move(followed, candidate)
        followed.kept = followed.has_file = True
        return tail.go_back(place, tail.generation)
