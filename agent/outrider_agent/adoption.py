"""From files that were found to files that are followed.

See :mod:`outrider_agent.registry` for how streams are found again.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from outrider.inbox import names
from outrider_agent import discovery, encodings, held, processes
from outrider_agent.descriptors import Descriptors, most_open
from outrider_agent.discovery import Found
from outrider_agent.evidence import holds
from outrider_agent.followed import Followed
from outrider_agent.found_files import FoundFiles
from outrider_agent.handover import Adopt, Born
from outrider_agent.registry import Candidate, Minter, Orphans, open_candidate
from outrider_agent.segments import SegmentWatch, has_something_to_tell
from outrider_agent.streams import Lost, Place
from outrider_agent.unpacking import Sought, Unpacking

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from outrider_agent.configuration import AgentConfig
    from outrider_agent.handover import Handover
    from outrider_agent.identity import Identity
    from outrider_agent.inbox import Inbox
    from outrider_agent.journal import Journal
    from outrider_agent.orders import Welcomed
    from outrider_agent.reports import Reports
    from outrider_agent.state import State
    from outrider_agent.streams import Stream


class Adoption:
    """Files without a stream and streams without a file, and how they come together."""

    def __init__(
        self,
        *,
        finder: discovery.Discovery,
        minter: Minter,
        identity: Identity,
        journal: Journal,
        inbox: Inbox,
        handover: Handover,
        reports: Reports,
        agent: AgentConfig,
        keep_dir: Path,
        held_files: held.HeldFiles,
    ) -> None:
        self._minter = minter
        self._identity = identity
        self._journal = journal
        self._inbox = inbox
        self._handover = handover
        self._reports = reports
        self._held = held_files
        self.descriptors = Descriptors(most_open(), self._keep_open)
        self._found = FoundFiles(
            finder, minter, identity.key, reports, agent.max_files, self.descriptors
        )
        self._orphans = Orphans(identity.key)
        self._lost: list[Lost] = []
        self.unpacking = Unpacking(identity.key, agent, keep_dir)
        self._copies = held.kept(keep_dir)
        """What an earlier process kept of deleted files, by stream."""
        self._welcomed = False
        self._looked_since_welcome = False
        self._copied = identity.copied
        self._unsettled = False
        """The first look is over, and the disk does not say so yet."""

    @property
    def candidates(self) -> list[Candidate]:
        """Open files that are no stream yet."""
        return self._found.candidates

    @property
    def all_placed(self) -> bool:
        """Whether every stream that Postgres has open was found again or given up."""
        return self._welcomed and not self._orphans.streams and not self.unpacking

    def waiting_bytes(self) -> int:
        """Bytes in files that are no stream yet."""
        return sum(map(Candidate.size, self.candidates))

    def reload(self, agent: AgentConfig) -> None:
        """Go by another configuration; the caller looks anew."""
        self._found.reload(agent.source, agent.max_files)
        self.unpacking.limits = agent

    def directories_changed(self, now_ns: int) -> bool:
        """Whether a new look would find anything else than the last."""
        return self._found.changed(now_ns)

    # ---------------------------------------------------------------- looking

    def look(self, followed: Iterable[Followed], wall_s: float) -> None:
        """Look everywhere: open what is new, note what has gone or moved."""
        self._found.look(followed, wall_s)
        self._looked_since_welcome = self._welcomed

    # ---------------------------------------------------------------- streams

    def welcomed(self, order: Welcomed) -> None:
        """Take up the streams that Postgres has and nobody knows."""
        self._welcomed, self._looked_since_welcome = True, False
        self._orphans.add(o for o in order.orphans if o[0].stream_id not in self.unpacking)

    def find_again(self, now: float, remembered: State) -> list[Followed]:
        """Find streams again that Postgres has open; return what is to be followed from now on."""
        if not self._welcomed:
            return []
        fresh = self._take_up_kept()
        fresh += self._match_orphans(self._ready(now), remembered)
        if self._looked_since_welcome and self._orphans.streams:
            paths = [stream.path for stream, _ in self._orphans.streams.values()]
            for _ in discovery.until_at_rest(paths):
                fresh += self._match_elsewhere(remembered)
            self._seek_in_archives(remembered)
            self._give_up_orphans()
        return fresh

    def _ready(self, now: float) -> list[Candidate]:
        return [c for c in self.candidates if c.not_before <= now]

    def give_birth(self, now: float, wall_s: float) -> list[Followed]:
        """Make streams of the other files; return what is to be followed from now on.

        Raises OSError where that cannot be journalled; nothing has happened then.
        """
        if not self._welcomed:
            return []
        left = [candidate for candidate in self._ready(now) if _tells(candidate)]
        if self._copied:
            for candidate in left:
                candidate.replay_below = candidate.size()
        fresh = self._bear(left, wall_s)
        if self._looked_since_welcome and self._minter.first_start:
            self._minter.first_start, self._unsettled = False, True
        if self._unsettled:
            # Where there is no room it is tried again; what is followed by now is.
            with suppress(OSError):
                self._identity.settle()
                self._unsettled = False
        if self._looked_since_welcome and self._copied:
            self._copied = False
            self._identity.forget_copied()
        return fresh

    def _match_orphans(
        self, candidates: list[Candidate], remembered: State, *, left_behind: bool = False
    ) -> list[Followed]:
        fresh = []
        boot_id = processes.boot_id() if self._orphans.streams else ""

        def only_grew(stream_id: int, status: os.stat_result) -> bool:
            return remembered.only_grew(stream_id, status, boot_id)

        for match in self._orphans.match(candidates, only_grew, left_behind=left_behind):
            self._handover.give(Adopt(match.stream))
            if left_behind:
                source = self._found.source_of(match.stream.path)
                match.candidate.found = Found(match.candidate.found.path, source)
            followed = self._follow(match.candidate, match.stream)
            followed.tail.go_back(match.place, 0)
            highest = remembered.acknowledged.get(match.stream.stream_id, 0)
            followed.tail.highest_acknowledged = highest
            fresh.append(followed)
        return fresh

    def _take_up_kept(self) -> list[Followed]:
        """Go on with what an earlier process kept of files that were deleted."""
        if not self._copies:
            return []
        fresh = []
        for stream_id, path in self._copies.items():
            stream, place = self._orphans.streams.get(stream_id, (None, None))
            birth = self._journal.births.get(stream_id)
            if stream is None and birth is not None:
                stream, place = birth, Place(birth.start_offset, b"")
            if stream is None or place is None:
                # Delivered before the copy was removed, or of a database that knows nothing of it.
                with suppress(OSError):
                    os.unlink(path)  # noqa: PTH108  a string
                continue
            with suppress(OSError):
                candidate = open_candidate(Found(path, self._found.source_of(stream.path)))
                if not holds(candidate.fd, self._identity.key, stream, place):
                    os.close(candidate.fd)
                    continue
                self._handover.give(Adopt(stream) if birth is None else Born(stream))
                self._orphans.streams.pop(stream_id, None)
                fresh.append(self._follow_kept(candidate, stream, place))
        self._copies = {}
        return fresh

    def _follow_kept(self, candidate: Candidate, stream: Stream, place: Place) -> Followed:
        followed = self._follow(candidate, stream)
        followed.tail.go_back(place, 0)
        followed.present, followed.segment, followed.kept = False, None, True
        return followed

    def _seek_in_archives(self, remembered: State) -> None:
        for stream_id, (stream, place) in list(self._orphans.streams.items()):
            if self.unpacking.seek(Sought(stream, place, remembered.rested.get(stream_id, 0))):
                del self._orphans.streams[stream_id]

    def unpacked(self, sought: Sought, remembered: State) -> Followed | None:
        """Let a stream begin, or go on, in what an archive had of it; None where it had nothing."""
        try:
            if sought.followed is not None:
                return sought.followed if self._goes_on(sought.followed, sought) else None
            self._handover.give(Adopt(sought.stream))
            source = self._found.source_of(sought.stream.path)
            candidate = open_candidate(Found(sought.path, source))
        except OSError:  # nothing was unpacked
            if sought.followed is None:
                stream = sought.stream
                is_there = (stream.device, stream.inode) in self._found.known
                self._lost.append(Lost(stream, sought.place, is_there, sought.trouble))
            return None
        followed = self._follow_kept(candidate, sought.stream, sought.place)
        highest = remembered.acknowledged.get(followed.stream_id, 0)
        followed.tail.highest_acknowledged = highest
        self._reports.say(
            f"unpacked {followed.stream_id}",
            f"the rest of {sought.stream.path} is read from {sought.archive}, "
            f"from byte {sought.place.committed} on",
        )
        return followed

    def _goes_on(self, followed: Followed, sought: Sought) -> bool:
        tail = followed.tail
        if sought.trouble and followed.has_file and sought.end <= tail.size:
            return False
        place, before = Place(tail.begin, tail.begin_digest, tail.begin_state), tail.fd
        candidate = open_candidate(Found(sought.path, followed.found.source))
        if followed.has_file:
            os.close(before)
            self._found.known.pop(followed.key, None)
        self.move(followed, candidate)
        self.descriptors.opened(followed)
        followed.kept = followed.has_file = True
        return tail.go_back(place, tail.generation)

    def _match_elsewhere(self, remembered: State) -> list[Followed]:
        """Seek the remaining streams among all files beside where theirs was."""
        paths = [stream.path for stream, _ in self._orphans.streams.values()]
        opened: list[Candidate] = []
        for path in discovery.siblings(paths):
            with suppress(OSError):
                candidate = open_candidate(Found(path, None))
                if candidate.key in self._found.known:
                    os.close(candidate.fd)
                else:
                    opened.append(candidate)
        for candidate in opened:
            self._found.known[candidate.key] = candidate
        fresh = self._match_orphans(opened, remembered, left_behind=True)
        for followed in fresh:
            followed.present = False
            followed.segment = None
        for candidate in opened:
            if isinstance(self._found.known.get(candidate.key), Candidate):
                os.close(candidate.fd)
                del self._found.known[candidate.key]
        return fresh

    def copy_of(self, followed: Followed, place: Place) -> Candidate | None:
        """Seek, beside a file that was truncated, the copy that has what it had before."""
        return self._found.copy_of(followed, place)

    def move(self, followed: Followed, candidate: Candidate) -> None:
        """Let a stream go on in another file that has its bytes; the caller keeps the old one."""
        followed.tail.fd, followed.tail.size = candidate.fd, candidate.size()
        followed.found, followed.key = candidate.found, candidate.key
        followed.present = False
        self._found.known[candidate.key] = followed

    def _give_up_orphans(self) -> None:
        for stream, place in self._orphans.streams.values():
            self._handover.give(Adopt(stream))
            is_there = (stream.device, stream.inode) in self._found.known
            self._lost.append(Lost(stream, place, is_there))
        self._orphans.streams.clear()

    def take_lost(self) -> list[Lost]:
        """Take the streams whose content is nowhere."""
        lost, self._lost = self._lost, []
        return lost

    def _bear(self, candidates: list[Candidate], wall_s: float) -> list[Followed]:
        """Follow files as streams that the collector may not know."""
        pairs: list[tuple[Candidate, Stream]] = []
        born: list[Stream] = []
        unopened = {(s.device, s.inode): s for s in self._journal.births.values()}
        for candidate in candidates:
            stream = unopened.get(candidate.key)
            try:
                if stream is not None and not holds(
                    candidate.fd, self._identity.key, stream, Place(stream.start_offset, b"")
                ):
                    stream = None
                made = stream or self._minter.stream(candidate, wall_s)
            except OSError as error:
                # It holds no other file up, and is tried again.
                path = candidate.found.path
                self._found.say(
                    path, (error.strerror or str(error)).lower(), discovery.advice(error, path)
                )
                continue
            if stream is None and candidate.found.closing:
                # Retired and delivered in an earlier life: it is only kept.
                self._inbox.keep(candidate.fd, candidate.found.path)
                del self._found.known[candidate.key]
                continue
            if stream is None:
                born.append(made)
            pairs.append((candidate, made))
        if born:
            self._journal.born(born)
        fresh = [self._follow(candidate, stream) for candidate, stream in pairs]
        for followed in fresh:
            self._handover.give(Born(followed.tail.stream))
        return fresh

    def _follow(self, candidate: Candidate, stream: Stream) -> Followed:
        segment = None
        if candidate.found.source is None:
            filename = os.path.basename(candidate.found.path)  # noqa: PTH119  a string
            segment = SegmentWatch(candidate.found.path, closing=candidate.found.closing)
            segment.lockless = names.parse(filename) is None
        tail = self._minter.tail(candidate, stream)
        tail.highest_acknowledged = candidate.replay_below
        tail.lose(self._journal.shortfalls(stream.stream_id))
        followed = Followed(tail, candidate.found, candidate.key, segment)
        self._found.descriptors.opened(followed)
        self._found.known[candidate.key] = followed
        return followed

    def released(self, followed: Followed) -> None:
        """Forget a file whose stream has ended; the caller closes it."""
        self._found.delivered(followed)
        self.descriptors.closed(followed)

    def _keep_open(self, followed: Followed) -> bool:
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

    def again(self, followed: Followed, not_before: float, replay_below: int = 0) -> None:
        """Let a file be a new stream: its old one has ended, or was refused."""
        try:
            fd = followed.tail.fd
        except OSError:  # it was closed, and is nowhere
            self._found.known.pop(followed.key, None)
            return
        self.descriptors.closed(followed)
        candidate = Candidate(
            fd,
            followed.found,
            *followed.key,
            followed.tail.stream.uid,
            not_before,
            replay_below,
        )
        self._found.known[candidate.key] = candidate


def _tells(candidate: Candidate) -> bool:
    """Whether a file that is no stream yet has anything to tell."""
    found = candidate.found
    size = candidate.size()
    if size == 1 and encodings.may_be_marked(os.pread(candidate.fd, 1, 0)):
        return False  # what encoding it is will be known with the next byte
    if size or found.closing:
        return True
    if found.source is not None or names.parse(os.path.basename(found.path)) is None:  # noqa: PTH119
        return False
    return has_something_to_tell(candidate.fd, found.path)
