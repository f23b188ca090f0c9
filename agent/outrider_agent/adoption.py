"""From files that were found to files that are followed.

See :mod:`outrider_agent.registry` for how streams are found again.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from outrider import severity as severities
from outrider.inbox import names
from outrider_agent import discovery, held, processes
from outrider_agent.copies import Copies
from outrider_agent.descriptors import Descriptors, most_open
from outrider_agent.discovery import Found
from outrider_agent.evidence import holds
from outrider_agent.followed import Followed
from outrider_agent.found_files import FoundFiles
from outrider_agent.generations import Generations
from outrider_agent.handover import Adopt, Born
from outrider_agent.registry import Candidate, Minter, Orphans, open_candidate, tells
from outrider_agent.segments import SegmentWatch
from outrider_agent.streams import Lost, Place
from outrider_agent.unpacking import Sought, Unpacking

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from outrider_agent.configuration import AgentConfig
    from outrider_agent.delivery import Refused
    from outrider_agent.handover import Handover
    from outrider_agent.identity import Identity
    from outrider_agent.inbox import Inbox
    from outrider_agent.journal import Journal
    from outrider_agent.orders import Welcomed
    from outrider_agent.reports import Reports
    from outrider_agent.state import State
    from outrider_agent.streams import Stream


_REFUSED_AGAIN_S = 60.0


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
        self.descriptors = Descriptors(most_open())
        self._found = FoundFiles(
            finder, minter, identity.key, reports, agent.max_files, self.descriptors
        )
        self.generations = Generations()
        self._orphans = Orphans(identity.key)
        self._lost: list[Lost] = []
        self.unpacking = Unpacking(identity.key, agent, keep_dir)
        self.copies = Copies(
            identity.key,
            keep_dir,
            found=self._found,
            orphans=self._orphans,
            journal=journal,
            handover=handover,
            reports=reports,
            held_files=held_files,
            unpacking=self.unpacking,
            follow=self._follow,
        )
        self.descriptors.keep = self.copies.keep_open
        self._welcomed = False
        self._looked_since_welcome = False
        self._looked_anew = False
        """Whether there was a look of which generations do not know."""
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

    def remember(self, remembered: State) -> State:
        """Take up what an earlier process knew of files, besides streams; return the cache."""
        self.generations.read(remembered)
        self._found.history.read(remembered)
        return remembered

    def save(self, path: Path, cache: State, followed: Iterable[Followed]) -> None:
        """Write the cache, with what the next process should know of files besides streams."""
        self.generations.save(path, cache, followed, self._journal.births, self._found.history)

    # ---------------------------------------------------------------- looking

    def look(self, followed: Iterable[Followed], wall_s: float) -> None:
        """Look everywhere: open what is new, note what has gone or moved."""
        self._found.look(followed, wall_s)
        self.generations.left_behind(followed)
        self._looked_anew = True
        self._looked_since_welcome = self._welcomed and self._found.complete

    # ---------------------------------------------------------------- streams

    def welcomed(self, order: Welcomed) -> None:
        """Take up the streams that Postgres has and nobody knows."""
        self._welcomed, self._looked_since_welcome = True, False
        if order.store_regressed:
            self._reports.say(
                "regressed",
                "the database has forgotten what it acknowledged: what this host still holds is "
                "sent again",
                event="pipeline.gap_found",
                severity=severities.ERROR,
            )
        self._orphans.add(o for o in order.orphans if o[0].stream_id not in self.unpacking)

    def find_again(self, now: float, remembered: State) -> list[Followed]:
        """Find streams again that Postgres has open; return what is to be followed from now on."""
        if not self._welcomed:
            return []
        fresh = self.copies.take_up()
        fresh += self._match_orphans(self._ready(now), remembered)
        if self._looked_since_welcome and self._orphans.streams and not self.copies.wait:
            paths = [stream.path for stream, _ in self._orphans.streams.values()]
            for _ in discovery.until_at_rest(paths):
                searched = self._match_elsewhere(remembered, fresh)
            if searched and discovery.has_descriptor():
                self.copies.seek_in_archives(remembered)
                self._give_up_orphans()
        if self._looked_anew and not self._orphans.streams:
            self.generations.take(self._found, self._journal.births.values())
        return fresh

    def _ready(self, now: float) -> list[Candidate]:
        return [c for c in self.candidates if c.not_before <= now]

    def give_birth(self, now: float, wall_s: float) -> list[Followed]:
        """Make streams of the other files; return what is to be followed from now on.

        Raises OSError where that cannot be journalled; nothing has happened then.
        """
        if not self._welcomed:
            self._note_generations()
            return []
        left = [candidate for candidate in self._ready(now) if tells(candidate)]
        if self._copied:
            for candidate in left:
                candidate.replay_below = candidate.size()
        fresh = self._bear(left, wall_s)
        self._note_generations()
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

    def _note_generations(self) -> None:
        if self._looked_anew:
            placed = self._welcomed and not self._orphans.streams
            self.generations.note(self._found, placed=placed)
            self._looked_anew = False

    def bear_deleted(self, candidates: Iterable[Candidate], wall_s: float) -> list[Followed]:
        """Make streams of files that were deleted before any session, as far as that goes."""
        fresh: list[Followed] = []
        with suppress(OSError):
            fresh = self._bear([one for one in candidates if held.is_deleted(one)], wall_s)
        for followed in fresh:
            followed.present, followed.tail.size = False, followed.tail.status().st_size
        return fresh

    def _match_orphans(
        self, candidates: list[Candidate], remembered: State, *, left_behind: bool = False
    ) -> list[Followed]:
        fresh = []
        boot_id = "" if left_behind or not self._orphans.streams else processes.boot_id()

        def only_grew(stream_id: int, status: os.stat_result) -> bool:
            return remembered.only_grew(stream_id, status, boot_id)

        for match in self._orphans.match(candidates, only_grew, left_behind=left_behind):
            self._handover.give(Adopt(match.stream))
            if left_behind:
                source = self._found.source_of(match.stream.path)
                match.candidate.found = Found(match.candidate.found.path, source)
            self._found.history.goes_on(match.candidate)
            followed = self._follow(match.candidate, match.stream)
            followed.tail.go_back(match.place, 0)
            fresh.append(followed)
        return fresh

    def unpacked(self, sought: Sought, remembered: State) -> Followed | None:
        """Let a stream begin, or go on, in what an archive had of it; None where it had nothing."""
        followed = self.copies.unpacked(sought, remembered)
        if followed is None and sought.followed is None:
            stream = sought.stream
            self._handover.give(Adopt(stream))
            is_there = (stream.device, stream.inode) in self._found.known
            self._lost.append(Lost(stream, sought.place, is_there, sought.trouble))
        return followed

    def _match_elsewhere(self, remembered: State, fresh: list[Followed]) -> bool:
        """Seek the remaining streams among all files beside where theirs was; add to ``fresh``.

        False where descriptors were wanting: then nothing is known of what was not found.
        """
        streams = [stream for stream, _ in self._orphans.streams.values()]
        try:
            paths = discovery.siblings(stream.path for stream in streams)
            # Each by its inode first.
            keys = {(stream.device, stream.inode) for stream in streams}
            for path in (*discovery.with_keys(paths, keys), *paths):
                if self._orphans.streams:
                    fresh += self._match_with(path, remembered)
        except OSError as error:
            if not discovery.is_exhausted(error):
                raise
            self._found.say(str(error.filename), "no descriptor is free", "raise `LimitNOFILE`")
            return False
        return True

    def _match_with(self, path: str, remembered: State) -> list[Followed]:
        """See whether a file is one of the streams. Raises OSError where no more may be open."""
        if not self.descriptors.have_room():
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        try:
            candidate = open_candidate(Found(path, None))
        except OSError as error:
            if discovery.is_exhausted(error):
                raise
            return []
        fresh: list[Followed] = []
        if candidate.key not in self._found.known:
            self.descriptors.waiting += 1
            fresh = self._match_orphans([candidate], remembered, left_behind=True)
            self.descriptors.waiting -= not fresh
        for followed in fresh:
            followed.present, followed.segment = False, None
            self.generations.remember(followed)
        if not fresh:
            os.close(candidate.fd)
        return fresh

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
                self._found.say_why(candidate.found.path, error)
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
        tail.losses.add(self._journal.shortfalls(stream.stream_id))
        followed = Followed(tail, candidate.found, candidate.key, segment)
        self.descriptors.opened(followed)
        self.descriptors.waiting = max(0, self.descriptors.waiting - 1)
        self._found.known[candidate.key] = followed
        return followed

    def released(self, followed: Followed) -> None:
        """Forget a file whose stream has ended; the caller closes it."""
        self._found.delivered(followed)
        self.descriptors.closed(followed)

    def refused(self, followed: Followed | None, notice: Refused, now: float) -> None:
        """Leave a file alone for a while: the collector will not have its stream."""
        path = followed.path if followed is not None else "a file that is gone"
        self._reports.say(
            f"refused {notice.stream_id}",
            f"the collector refused the stream of {path}: {notice.reason}: {notice.detail}; "
            "the file waits and is offered again",
            event="pipeline.rejected",
            severity=severities.ERROR,
        )
        with suppress(OSError):
            self._journal.opened([notice.stream_id])
        if followed is not None and followed.has_file:
            followed.ended, followed.has_file = True, False
            self.again(followed, now + _REFUSED_AGAIN_S)

    def again(self, followed: Followed, not_before: float, *, replayed: bool = False) -> None:
        """Let a file be a new stream: its old one has ended, or was refused.

        ``replayed``: what it has by now may be in Postgres already, under the old one.
        """
        try:
            fd = followed.tail.fd
        except OSError:  # it was closed, and is nowhere
            if self._found.known.get(followed.key) is followed:
                del self._found.known[followed.key]
            return
        self.descriptors.closed(followed)
        self.descriptors.waiting += 1
        candidate = Candidate(
            fd,
            followed.found,
            *followed.key,
            followed.tail.stream.uid,
            not_before,
        )
        candidate.replay_below = candidate.size() if replayed else 0
        self._found.known[candidate.key] = candidate
