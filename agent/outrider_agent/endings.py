"""How a stream ends: when a file can grow no more, and what is said when its content is gone."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import signal
from typing import TYPE_CHECKING

from outrider_agent.streams import Loss, Place, Stream

if TYPE_CHECKING:
    from outrider_agent.followed import Followed

QUIET_S = 600.0
"""Where the system does not tell whether somebody writes, a file this quiet has been left."""

CHECK_S = 5.0


def cannot_grow(followed: Followed, now: float, now_ns: int) -> bool:
    """Whether a file that no source finds any more has got its last byte.

    The kernel grants a read lease only while nobody has the file open for writing, to its owner
    and to root. Where it grants none for other reasons, ten quiet minutes decide.
    """
    if followed.present or now < followed.next_growth_check:
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


def loss(
    stream: Stream, place: Place, end: int, *, reason: str, detail: str, now_us: int, since_us: int
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
        from_us=since_us,
        to_us=now_us,
    )
