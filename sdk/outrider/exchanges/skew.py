"""How far this host's clock is from an exchange's, and whether that matters there.

One question for the time gives one sample. The exchange looked at its clock somewhere between our
sending and our receiving: most probably in the middle, and certainly within half of the round trip
of it. The sample with the shortest round trip is the best, so a few are taken and that one counts.

Exchanges refuse a request whose time is further ahead, or older, than they allow. What a clock
*surely* uses of that allowance, its error taken off, is compared with two shares: a warning at a
quarter, a failure at seven tenths. Of the usual second ahead that is 250 ms and 700 ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

SAMPLES: Final = 5

WARN_PCT: Final = 25
FAIL_PCT: Final = 70

Judgement = Literal["fine", "warn", "fail"]


class Sample(NamedTuple):
    """One question for the time; microseconds since 2000."""

    sent_us: int
    received_us: int
    server_us: int


class Skew(NamedTuple):
    """How far ahead this host's clock is; negative: behind."""

    ahead_ms: float
    error_ms: float
    """The truth is surely within so much of ``ahead_ms``."""
    sure_ms: float
    """So far off it surely is, on the side of ``ahead_ms``; 0 where it may be right."""
    samples: int

    def used_pct(self, ahead_ms: float | None, behind_ms: float | None) -> float:
        """Return how much of what is allowed on its side the clock surely uses, percent.

        None allows anything.
        """
        allowed_ms = ahead_ms if self.ahead_ms > 0 else behind_ms
        return 0.0 if allowed_ms is None else 100 * self.sure_ms / allowed_ms


def measure(samples: Iterable[Sample], resolution_ms: float = 0) -> Skew | None:
    """Return what the best sample says; None without any that makes sense.

    ``resolution_ms`` is the step in which the exchange tells its time, rounded down. What that
    hides is taken in the clock's favour: one that may be right by it is not called wrong. A sample
    that was received before it was sent spans a jump of this host's clock and is left out.
    """
    sane = [sample for sample in samples if sample.received_us >= sample.sent_us]
    if not sane:
        return None
    best = min(sane, key=lambda sample: sample.received_us - sample.sent_us)
    most_ms = ((best.sent_us + best.received_us) / 2 - best.server_us) / 1_000
    ahead_ms = min(max(0.0, most_ms - resolution_ms), most_ms)
    half_trip_ms = (best.received_us - best.sent_us) / 2_000
    return Skew(
        ahead_ms=ahead_ms,
        error_ms=half_trip_ms + resolution_ms,
        sure_ms=max(0.0, abs(ahead_ms) - half_trip_ms),
        samples=len(sane),
    )


def judge(used_pct: float) -> Judgement:
    """Return what follows from so much of the allowance being used."""
    if used_pct >= FAIL_PCT:
        return "fail"
    return "warn" if used_pct >= WARN_PCT else "fine"


def told(skew: Skew, allowed_ms: float) -> str:
    """Say in words how far the clock surely is off, and what is refused."""
    side = "ahead of" if skew.ahead_ms > 0 else "behind"
    off = f"at least {skew.sure_ms:.0f} ms {side} its own"
    return f"this host's clock is {off}, {allowed_ms:.0f} ms are refused"
