"""What an exchange lets one do, and who says so: our own probe or the exchange itself.

Announcements are wrong in both directions: "online" while nothing answers, and a ping that answers
while the matching engine stands still. So neither is believed alone, and the verdict tells which of
the two decided.

=====================  =======================  ============================================
our own probe          announced                verdict
=====================  =======================  ============================================
answers                better, or not readable  what the probe found
answers                anything worse           what is announced
does not answer        maintenance              maintenance, by announcement
does not answer        anything else            down, by our own probe
could not look         readable                 what is announced
could not look         not readable             unknown
=====================  =======================  ============================================
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from outrider.probes.result import State

DecidedBy = Literal["our own probe", "announced"]


class Mode(StrEnum):
    """What an exchange lets one do, from best to worst: of several the last one here counts."""

    ONLINE = "ONLINE"
    UNKNOWN = "UNKNOWN"
    """It says something that nobody here knows, or nothing can be read."""
    DEGRADED = "DEGRADED"
    """It works in part, or badly."""
    POST_ONLY = "POST_ONLY"
    """Orders that would be matched at once are refused."""
    CANCEL_ONLY = "CANCEL_ONLY"
    MAINTENANCE = "MAINTENANCE"
    """Closed, as announced."""
    DOWN = "DOWN"

    def is_worse_than(self, other: Mode) -> bool:
        """Whether this mode lets one do less than the other."""
        return _RANK[self] > _RANK[other]


_RANK: Final = {mode: rank for rank, mode in enumerate(Mode)}

STATES: Final[dict[Mode, State]] = {
    Mode.ONLINE: "up",
    Mode.UNKNOWN: "unknown",
    Mode.DEGRADED: "degraded",
    Mode.POST_ONLY: "degraded",
    Mode.CANCEL_ONLY: "degraded",
    Mode.MAINTENANCE: "maintenance",
    Mode.DOWN: "down",
}
"""The state of the component whose exchange is in a mode."""


class Own(NamedTuple):
    """What our own probe found."""

    mode: Mode
    """ONLINE, DEGRADED, DOWN; UNKNOWN where this host itself kept us from looking."""
    reason: str = ""
    """Of all but ONLINE: what went wrong."""


class Announcement(NamedTuple):
    """What the exchange says of itself."""

    mode: Mode
    text: str
    """Its own words, made fit to be shown."""
    until_us: int | None = None
    """When it says that this ends, microseconds since 2000."""


class Verdict(NamedTuple):
    """Both together."""

    mode: Mode
    decided_by: DecidedBy
    reason: str


def combine(own: Own, announced: Announcement | None, unreadable: str = "") -> Verdict:
    """Return the verdict; ``unreadable`` says why there is no announcement where there should be.

    That an announcement cannot be read never makes an exchange worse.
    """
    said = f"announced: {announced.text}" if announced else ""
    if own.mode is Mode.UNKNOWN:
        if announced is None:
            return Verdict(Mode.UNKNOWN, "our own probe", own.reason)
        return Verdict(announced.mode, "announced", f"{said}; not looked at: {own.reason}")
    if own.mode is Mode.DOWN:
        if announced is not None and announced.mode is Mode.MAINTENANCE:
            return Verdict(announced.mode, "announced", f"{said}; {own.reason}")
        by = f"decided by our own probe, {said}" if said else "decided by our own probe"
        return Verdict(Mode.DOWN, "our own probe", f"{own.reason}; {by}")
    if announced is not None and announced.mode.is_worse_than(own.mode):
        if announced.mode is not Mode.UNKNOWN:
            return Verdict(announced.mode, "announced", f"{said}; it answers our own probe")
        said = f"{said}, which nobody here knows"
    found = own.reason or "it answers"
    rest = said or (f"what it announces cannot be read: {unreadable}" if unreadable else "")
    return Verdict(own.mode, "our own probe", f"{found}; {rest}" if rest else found)
