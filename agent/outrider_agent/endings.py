"""How a stream ends: when a file can grow no more, and what is said when its content is gone."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import signal
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from outrider import severity as severities
from outrider.instants import EPOCH_UNIX_US, from_unix_us
from outrider_agent.account import MOST_GAPS, GapAccount
from outrider_agent.streams import COPYTRUNCATE, DAMAGED, INBOX_FULL, Loss, Lost, Place, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outrider.inbox.slot import Slot
    from outrider_agent.batches import BatchMaker
    from outrider_agent.followed import Followed
    from outrider_agent.handover import Handover
    from outrider_agent.journal import Journal
    from outrider_agent.reports import Reports
    from outrider_agent.tail import Tail

QUIET_S = 600.0
"""Where the system does not tell whether somebody writes, a file this quiet has been left."""

CHECK_S = 5.0

_MANY_SHORTFALLS = 10


def cannot_grow(followed: Followed, now: float, now_ns: int) -> bool:
    """Whether a file that no source finds any more has got its last byte.

    The kernel grants a read lease only while nobody has the file open for writing, to its owner
    and to root. Where it grants none for other reasons, ten quiet minutes decide.
    """
    if followed.present or not followed.remembered or now < followed.next_growth_check:
        return False
    followed.next_growth_check = now + CHECK_S
    written = has_writer(followed.tail.fd)
    if written is None:
        return now_ns - os.fstat(followed.tail.fd).st_mtime_ns > QUIET_S * 1e9
    return not written


def has_writer(fd: int) -> bool | None:
    """Whether anybody has the file open for writing; None where the system does not tell."""
    if signal.getsignal(signal.SIGIO) != signal.SIG_IGN:
        # A lease that is broken is told by SIGIO, which kills who does not ignore it.
        return None
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno in {errno.EAGAIN, errno.EBUSY} else None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


class Endings:
    """Ends streams: journals what is lost, then hands the final batch over."""

    def __init__(
        self, journal: Journal, batches: BatchMaker, handover: Handover, reports: Reports
    ) -> None:
        self._journal = journal
        self._batches = batches
        self._handover = handover
        self._reports = reports
        self.gap_count = 0
        self.gaps: deque[GapAccount] = deque(maxlen=MOST_GAPS)
        """The latest losses, for those who ask."""

    def _note(self, told: Loss, path: str) -> None:
        self.gap_count += 1
        at_us = from_unix_us(time.time_ns() // 1000)
        self.gaps.append(GapAccount(at_us, path, told.reason, told.records, told.at_least))

    def finish(self, followed: Followed, now: float, now_us: int, looked_us: int) -> None:
        """End a stream whose file has got its last byte."""
        tail = followed.tail
        if not tail.flush_partial(now_us, now):
            return
        self.hand_over(tail, looked_us)
        place = tail.place
        losses = tail.losses.tell(place.end_of_stream)
        self._handover.give(self._batches.final(tail.stream, tail.generation, place, losses))
        followed.ended = True

    def hand_over(self, tail: Tail, looked_us: int) -> None:
        """Make the last batch before an end, of what was read and is in none yet."""
        if tail.has_pending:
            self._handover.give(self._batches.make(tail, looked_us))

    def lose(
        self,
        followed: Followed,
        place: Place,
        end: int,
        detail: str,
        now_us: int = 0,
        *,
        reason: str = "truncated",
    ) -> None:
        """End a stream whose bytes from ``place`` to ``end`` are gone from its file."""
        tail = followed.tail
        told = self._tell(tail.stream, place, end, reason, detail, (tail.read_to_end_us, now_us))
        followed.loss, followed.ended, followed.has_file = told, True, False
        losses = (told, *self._journal.shortfalls(tail.stream.stream_id))
        self._handover.give(self._batches.final(tail.stream, tail.generation, place, losses))

    def no_more(self, followed: Followed, trouble: str, seen: int, now_us: int) -> None:
        """End a stream of which no archive has the rest; ``seen``: so far the file went once."""
        tail = followed.tail
        path = tail.stream.path
        reason, detail = "vanished", f"what compressed {path} is gone"
        if trouble:
            reason, detail = DAMAGED, f"what compressed {path} cannot be read on: {trouble}"
        elif not followed.has_file:
            reason, detail = "truncated", f"{path} was truncated or rewritten"
        self.lose(followed, tail.place, max(tail.seen_bytes, seen), detail, now_us, reason=reason)

    def may_lack(self, followed: Followed, end: int, detail: str, now_us: int) -> None:
        """Tell that lines after ``end``, the end of a copy, may be lost with the file it is of."""
        tail = followed.tail
        place, when_us = Place(end, b""), (tail.read_to_end_us, now_us)
        told = loss(tail.stream, place, end, COPYTRUNCATE, f"{detail} after it was copied", when_us)
        tail.losses.add((told,))
        self._note(told, followed.path)
        with self._journalled():
            self._journal.lost(told)

    def without_content(self, lost: Lost, end: int) -> None:
        """End a stream of an earlier life whose content is nowhere; its file may still be there."""
        stream, place = lost.stream, lost.place
        reason, detail = "vanished", "its file is gone"
        if lost.is_there:
            reason = "truncated"
            detail = "it was truncated or rewritten while no agent ran, or another has its inode"
        if lost.trouble:
            reason, detail = DAMAGED, f"what compressed it cannot be read: {lost.trouble}"
        told = self._tell(stream, place, end, reason, f"{stream.path}: {detail}")
        losses = (told, *self._journal.shortfalls(stream.stream_id))
        self._handover.give(self._batches.final(stream, 0, place, losses))

    def count_dropped(self, followed: Followed, said: Slot, now_us: int) -> None:
        """Make a gap of what a worker could not write since it was last counted."""
        stream_id, counted = followed.stream_id, self._journal.counted
        known = counted.get(stream_id, 0)
        if not said.pid or said.dropped == known:
            return
        if said.dropped < known:
            # A writer that does not go on with the count of the one before it.
            known = counted[stream_id] = 0
        untold = len(self._journal.shortfalls(stream_id))
        if untold >= _MANY_SHORTFALLS and said.dropped < 2 * known:
            # While none of them is stored each tells of as many as all before it: they stay few.
            return
        if said.dropped:
            is_plausible = said.dropped_plausibly(now_us + EPOCH_UNIX_US)
            records = said.dropped - known if is_plausible else None
            self.fell_short(followed, records, said.dropped, now_us)

    def fell_short(
        self, followed: Followed, records: int | None, counted: int, now_us: int
    ) -> None:
        """Tell that a worker could not write ``records`` records: ``counted`` in this segment.

        None: nobody knows how many, for there was no room to count them either, or what counts
        them is damaged.
        """
        tail = followed.tail
        stream = tail.stream
        detail = f"{stream.worker} of {stream.service} found no room in {followed.path}"
        told = Loss(
            gap_id=secrets.token_bytes(16),
            stream_id=stream.stream_id,
            begin=tail.position,
            end=tail.position,
            reason=INBOX_FULL,
            records=records or 0,
            at_least=records is None,
            detail=detail,
            from_us=tail.last_line_us,
            to_us=now_us,
        )
        tail.losses.add((told,))
        self._note(told, followed.path)
        with self._journalled():
            self._journal.fell_short(told, counted)
        self._reports.say(
            f"inbox full {followed.path}",
            f"{'an unknown number of' if records is None else records} records are lost: "
            f"{detail}: free space on that disk",
            event="pipeline.dropped",
            severity=severities.ERROR,
            service=stream.service,
            worker=stream.worker,
            records=records or 0,
        )

    def _tell(
        self,
        stream: Stream,
        place: Place,
        end: int,
        reason: str,
        detail: str,
        when_us: tuple[int, int] = (0, 0),
    ) -> Loss:
        """Say and journal a gap, under the name that it has had from the first time on."""
        told = self._journal.gap_of(stream.stream_id)
        if told is None:
            told = loss(stream, place, end, reason, detail, when_us)
            self._note(told, stream.path)
            with self._journalled():
                self._journal.lost(told)
        elif told.begin > place.committed:
            # What was before it was on its way, and went with a crash or a restored database.
            told = msgspec.structs.replace(
                told, begin=place.committed, records=max(told.records, 1)
            )
            with self._journalled():
                self._journal.lost(told)
        self._reports.say(
            f"gap {stream.path}",
            f"gap in {stream.path} from byte {place.committed}: {detail}",
            event="pipeline.gap_found",
            severity=severities.WARN,
            path=stream.path,
            reason=reason,
        )
        return told

    @contextmanager
    def _journalled(self) -> Iterator[None]:
        """Journal a gap; where that cannot be written it is told all the same, now."""
        try:
            yield
        except OSError as error:
            self._reports.say(
                "journal",
                f"cannot write the journal: {error}: free space there; gaps are not kept over a "
                "crash of the agent until then",
                severity=severities.ERROR,
            )


def loss(
    stream: Stream, place: Place, end: int, reason: str, detail: str, when_us: tuple[int, int]
) -> Loss:
    """Describe what of a stream cannot be delivered, from ``place`` to ``end``.

    How many lines it were nobody knows. Where bytes were seen that were not delivered, it was at
    least one.
    """
    return Loss(
        gap_id=secrets.token_bytes(16),
        stream_id=stream.stream_id,
        begin=place.committed,
        end=max(place.committed, end),
        reason=reason,
        records=1 if end > place.committed else 0,
        at_least=True,
        detail=detail,
        from_us=when_us[0],
        to_us=when_us[1],
    )
