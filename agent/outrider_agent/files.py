"""All followed files and their streams: what the disk thread keeps between its turns."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from outrider import severity as severities
from outrider.failpoint import failpoint
from outrider.instants import from_unix_us
from outrider_agent import endings, processes, state, watermarks
from outrider_agent.account import Account, gathered
from outrider_agent.batches import BatchMaker
from outrider_agent.delivery import Acknowledged
from outrider_agent.delivery_speed import DeliverySpeed
from outrider_agent.followed import Followed
from outrider_agent.orders import Committed
from outrider_agent.picture import Picture, paint
from outrider_agent.registry import Candidate
from outrider_agent.relief import relieve
from outrider_agent.streams import HELD_FULL
from outrider_agent.unpacking import Sought

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from outrider_agent.adoption import Adoption
    from outrider_agent.configuration import AgentConfig
    from outrider_agent.control import Question
    from outrider_agent.delivery import GoBack, Refused
    from outrider_agent.handover import Handover
    from outrider_agent.held import HeldFiles
    from outrider_agent.inbox import Inbox
    from outrider_agent.journal import Journal
    from outrider_agent.orders import Welcomed
    from outrider_agent.reports import Reports

_SAVE_S = 1.0
_TOO_MUCH_HELD = "was deleted, and too much was held of such files"


class Files:
    """Followed files by their stream. Owned by the disk thread."""

    def __init__(
        self,
        *,
        adoption: Adoption,
        inbox: Inbox,
        journal: Journal,
        state_path: Path,
        handover: Handover,
        reports: Reports,
        held: HeldFiles,
        hurry: Callable[[], object] = lambda: None,
    ) -> None:
        self._adoption = adoption
        self._copies = adoption.copies
        self._unpacking = adoption.unpacking
        self._inbox = inbox
        self._journal = journal
        self._state_path = state_path
        self._state = adoption.remember(state.load(state_path))
        self._handover = handover
        self._reports = reports
        self._held = held
        self.batches = BatchMaker()
        self._endings = endings.Endings(journal, self.batches, handover, reports)
        self.looked_us = 0
        """Start of the last complete look for files, this host's time."""
        self.picture = Picture()
        self._speed = DeliverySpeed()
        self.unpacks = False
        """Whether :meth:`unpack` has more to do at once."""
        self._by_stream: dict[int, Followed] = {}
        self._dirty = False
        self._next_save = 0.0
        self._last_ack_us = 0
        self._hurry = hurry

    @property
    def last_feed(self) -> tuple[int, bytes]:
        """The feed position under which something was last acknowledged, as far as remembered."""
        return self._state.feed_number, self._state.feed_nonce

    # ---------------------------------------------------------------- finding

    def directories_changed(self, now_ns: int) -> bool:
        """Whether a new look for files would find anything else than the last."""
        return self._adoption.directories_changed(now_ns)

    def look(self, wall_s: float) -> None:
        """Look for files everywhere."""
        self._adoption.look(self._by_stream.values(), wall_s)

    def assign(self, now: float, wall_s: float) -> list[Followed]:
        """Give streams to files that have none; return what is to be followed from now on."""
        fresh = self._adoption.find_again(now, self._state)
        try:
            fresh += self._adoption.give_birth(now, wall_s)
        except OSError as error:
            # Nothing is lost: the files are open, and are tried again at the next turn.
            self._reports.say(
                "births",
                f"cannot begin to follow new files: {error}: free space there",
                severity=severities.ERROR,
            )
        for followed in fresh:
            self._by_stream[followed.stream_id] = followed
            tail, acknowledged = followed.tail, self._state.acknowledged
            if highest := max(tail.highest_acknowledged, acknowledged.get(followed.stream_id, 0)):
                # Outlives a restart: what is sent again then, or for the first time, is marked.
                tail.highest_acknowledged = acknowledged[followed.stream_id] = highest
                self._dirty = True
        for lost in self._adoption.take_lost():
            seen = self._state.sizes.get(lost.stream.stream_id, lost.place.committed)
            self._endings.without_content(lost, seen)
        return fresh

    def unpack(self, now_us: int) -> Followed | None:
        """Do a little to find streams in archives; return one that goes on, or begins, there."""
        sought = self._unpacking.step()
        self.unpacks = self._unpacking.busy
        if sought is None:
            return None
        followed, before = self._adoption.unpacked(sought, self._state), sought.followed
        if followed is not None:
            self._by_stream[followed.stream_id] = followed
            if sought.is_copy:
                detail = f"{sought.stream.path} was truncated"
                self._endings.may_lack(followed, sought.end, detail, now_us)
        elif before is not None:
            had_file, seen = before.has_file, self._state.sizes.get(before.stream_id, 0)
            self._endings.no_more(before, sought.trouble, seen, now_us)
            if had_file:
                self._let_go(before)
        return followed

    def welcomed(self, order: Welcomed) -> None:
        """Take up what a welcome said."""
        self._adoption.welcomed(order)

    # ---------------------------------------------------------------- what the collector said

    def opened(self, stream_ids: tuple[int, ...]) -> None:
        """Forget births: the collector has these streams."""
        with suppress(OSError):
            self._journal.opened(stream_ids)

    def committed(self, order: Committed) -> None:
        """Keep the position under which something was acknowledged last."""
        self._state.feed_number, self._state.feed_nonce = order.feed_number, order.feed_nonce
        self._dirty = True

    def acknowledged(self, notice: Acknowledged) -> None:
        """Take note that a stream is committed up to an offset, or closed."""
        self._dirty = True
        self._last_ack_us = from_unix_us(time.time_ns() // 1000)
        followed = self._by_stream.get(notice.stream_id)
        if notice.final:
            self._state.acknowledged[notice.stream_id] = notice.committed
            self._state.end(notice.stream_id, int(time.time()))
            self._closed(notice, followed)
        elif followed is not None:
            tail = followed.tail
            self._speed.delivered(notice.committed - tail.acknowledged)
            tail.acknowledged = notice.committed
            tail.sifter.stored(notice.committed)
            tail.highest_acknowledged = max(tail.highest_acknowledged, notice.committed)
            self._state.acknowledged[notice.stream_id] = tail.highest_acknowledged
            with suppress(OSError):
                for loss in tail.losses.stored(notice.committed):
                    self._journal.stored(loss.gap_id)

    def _closed(self, notice: Acknowledged, followed: Followed | None) -> None:
        self._by_stream.pop(notice.stream_id, None)
        self._unpacking.forget(notice.stream_id)
        with suppress(OSError):
            self._journal.closed(notice.stream_id)
        if followed is None or not followed.has_file:
            return
        if not followed.ended or notice.committed != followed.tail.place.end_of_stream:
            # An earlier process ended it, perhaps elsewhere.
            followed.ended, followed.has_file = True, False
            self._adoption.again(followed, 0.0, replayed=True)
        elif followed.segment is not None and followed.segment.closing:
            self._adoption.released(followed)
            self._inbox.keep(followed.tail.fd, followed.segment.path)
        else:
            self._let_go(followed)

    def go_back(self, notice: GoBack) -> Followed | None:
        """Read a stream again from where the collector stands; return it if its file has that."""
        followed = self._by_stream.get(notice.stream_id)
        if followed is None:
            return None
        if followed.has_file and followed.tail.go_back(notice.place, notice.generation):
            followed.ended = False
            return followed
        followed.tail.generation = notice.generation
        if self._unpacking.moved(notice.stream_id, notice.place):
            return None
        loss, had_file = followed.loss, followed.has_file
        end = followed.tail.size if loss is None else loss.end
        reason, detail = "truncated", f"the bytes are gone from {followed.path}"
        if not had_file and loss is None:
            reason, detail = HELD_FULL, f"{followed.path} {_TOO_MUCH_HELD}"
        self._endings.lose(followed, notice.place, end, detail, reason=reason)
        if had_file:
            self._copies.note_copies(followed, notice.place)
            self._adoption.again(followed, 0.0, replayed=True)
        return None

    def refused(self, notice: Refused, now: float) -> None:
        """Leave a file alone for a while: the collector will not have its stream."""
        self._adoption.refused(self._by_stream.pop(notice.stream_id, None), notice, now)

    # ---------------------------------------------------------------- ends

    def replaced(self, followed: Followed, now_us: int) -> Followed | None:
        """Begin anew with a file that was truncated or rewritten.

        Its stream goes on where a copy has the rest, and is returned then; else it ends.
        """
        tail = followed.tail
        place = tail.place
        detail = f"{followed.path} was truncated or rewritten"
        copied = self._copies.copy_of(followed, place)
        if copied is None:
            sought = Sought(tail.stream, place, tail.rested_mtime_ns, followed, is_copy=True)
            if not self._unpacking.seek(sought):
                self._endings.lose(followed, place, tail.seen_bytes, detail, now_us)
            self._adoption.again(followed, 0.0)
            followed.has_file = False
            return None
        # Copied, then truncated: the copy has what was not read, up to when it was made.
        self._adoption.again(followed, 0.0)
        self._copies.move(followed, copied)
        self._endings.may_lack(followed, tail.size, detail, now_us)
        return followed

    # ---------------------------------------------------------------- once a second

    def housekeeping(self, now: float, now_us: int, now_ns: int) -> None:
        """See to ends of files, segments, watermarks, the cache and the picture."""
        living = [one for one in self._by_stream.values() if not one.ended and one.has_file]
        self._copies.retry()
        for followed in living:
            try:
                with suppress(FileNotFoundError):  # the next look finds it, or tells what is lost
                    self._see_to(followed, now, now_us, now_ns)
            except OSError as error:
                self._reports.say(f"see {followed.path}", f"{followed.path}: {error}")
        relieve(living, self._reports)
        beyond = self._held.beyond_limits(self._by_stream.values(), self._adoption.candidates)
        for followed in self._streams_of(beyond):
            self._give_up(followed, now_us)
        watermarks.tell(living, self.batches, self._handover, self.looked_us, now_us)
        self._inbox.tidy(self._by_stream.values(), self._adoption.candidates)
        self._paint(now)
        if (self._dirty or self._adoption.generations.changed) and now >= self._next_save:
            self._next_save = now + _SAVE_S
            self.save()

    def _streams_of(self, files: Sequence[Followed | Candidate]) -> list[Followed]:
        """Return files as streams; makes them of deleted ones that had to wait for a session."""
        waiting = [one for one in files if isinstance(one, Candidate)]
        fresh = self._adoption.bear_deleted(waiting, time.time())
        self._by_stream |= {one.stream_id: one for one in fresh}
        return fresh + [one for one in files if isinstance(one, Followed)]

    def _give_up(self, followed: Followed, now_us: int) -> None:
        """End the stream of a deleted file, and give its room back."""
        tail = followed.tail
        if not followed.ended:
            self._endings.hand_over(tail, self.looked_us)
            detail = f"{followed.path} {_TOO_MUCH_HELD}"
            self._endings.lose(followed, tail.place, tail.size, detail, now_us, reason=HELD_FULL)
        # Of one that was read to its end it is lost only where it must be read again.
        self._let_go(followed)
        followed.has_file = False

    def _is_gone(self, followed: Followed, now_us: int) -> None:
        """End a stream whose file was closed for want of descriptors, and went away meanwhile."""
        tail = followed.tail
        self._endings.hand_over(tail, self.looked_us)
        self._adoption.released(followed)
        followed.gone = followed.has_file = False
        if not self._unpacking.seek(Sought(tail.stream, tail.place, 0, followed)):
            detail = f"{followed.path} went away while it was closed for others"
            self._endings.lose(followed, tail.place, tail.size, detail, now_us, reason="vanished")

    def _let_go(self, followed: Followed) -> None:
        self._adoption.released(followed)
        followed.tail.close()
        self._held.discard(followed.path)

    def _see_to(self, followed: Followed, now: float, now_us: int, now_ns: int) -> None:
        tail, segment = followed.tail, followed.segment
        if followed.gone:
            self._is_gone(followed, now_us)
            return
        quiet_s = (now_ns - tail.mtime_ns) / 1e9
        if segment is not None:
            segment.said_goodbye = tail.last_event == "worker.stopped"
            if segment.check(tail.fd, now, now_us):
                self._inbox.died(followed, self._reports)
            self._endings.count_dropped(followed, segment.last, now_us)
            if segment.uncounted and followed.stream_id not in self._journal.counted:
                self._endings.fell_short(followed, None, 0, now_us)
        if tail.position < tail.size - tail.partial_bytes or tail.has_pending:
            return
        if segment is not None:
            done = tail.acknowledged == tail.position
            if done and segment.wants_to_retire(now, quiet_s, self._inbox.retire_after_s):
                segment.retire(tail)
                return  # and read to the end once more before it ends
            if segment.may_end(tail.fd, quiet_s) and tail.at_end():
                self._endings.finish(followed, now, now_us, self.looked_us)
        elif followed.kept and self._unpacking.has_more(followed.stream_id):
            if tail.acknowledged == tail.begin:
                self._unpacking.go_on(followed)
        elif followed.kept or (endings.cannot_grow(followed, now, now_ns) and tail.at_end()):
            self._endings.finish(followed, now, now_us, self.looked_us)

    def _paint(self, now: float) -> None:
        before = self.picture.ends
        self.picture = paint(self._by_stream.values(), self._adoption.waiting_bytes(), now)
        self._speed.look(now, self.picture.backlog_bytes)
        if self.picture.ends != before:
            # Somebody came, ended or died: that does not wait for the next heartbeat.
            self._hurry()

    def account(self, question: Question, now: float, now_us: int) -> Account:
        """Tell how everything is, or how one file is."""
        return gathered(
            question,
            self._by_stream.values(),
            self._adoption.candidates,
            now,
            now_us=now_us,
            last_ack_us=self._last_ack_us,
            window_used_bytes=self._handover.used_bytes,
            delivered_bytes_per_s=self._speed.bytes_per_s,
            backlog_left_s=self._speed.left_s,
            pending_births=len(self._journal.births),
            pending_gaps=len(self._journal.gaps),
            gap_count=self._endings.gap_count,
            gaps=list(self._endings.gaps),
            troubles=self._reports.recent(),
        )

    def reload(self, agent: AgentConfig) -> None:
        """Go by another configuration from now on; the caller looks anew."""
        self._adoption.reload(agent)
        self._held.limits = agent
        self._inbox.limits = agent

    def save(self) -> None:
        """Write the cache."""
        failpoint("ack/cache")
        self._dirty = False
        if self._adoption.all_placed:
            # Until then the cache also speaks of streams of an earlier life that may be continued.
            living = self._by_stream.keys() | self._journal.births.keys() | self._state.ended.keys()
            self._state.keep_only(living, processes.boot_id())
        for stream_id, followed in self._by_stream.items():
            self._state.saw(stream_id, followed.tail.size, followed.tail.rested_mtime_ns)
        self._adoption.save(self._state_path, self._state, self._by_stream.values())

    def finish(self) -> None:
        """After the disk thread's end: take note of the last acknowledgements and close all."""
        for order in self._handover.orders(0):
            if isinstance(order, Acknowledged):
                self.acknowledged(order)
            elif isinstance(order, Committed):
                self.committed(order)
        self._streams_of(self._adoption.candidates)
        self._held.keep(self._by_stream.values())
        self.save()
        self._close()

    def _close(self) -> None:
        for followed in self._by_stream.values():
            if followed.has_file:
                followed.tail.close()
        for candidate in self._adoption.candidates:
            os.close(candidate.fd)
        self._unpacking.close()
        self._inbox.close()
        self._journal.close()
