"""What the rules about records come down to, in the terms of windows and seconds."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from outrider_alerting.durations import DAY_US, SECOND_US, Duration
from outrider_alerting.kinds import (
    AbsenceRule,
    CountRule,
    DistinctRule,
    GapRule,
    GaugeRule,
    JudgedRule,
    NewErrorRule,
    NoData,
    Priority,
    RatioRule,
    Rule,
    SpikeRule,
    ThresholdRule,
    rungs,
)

MAX_BUCKETS_A_WINDOW: Final = 600
"""Windows over 10 minutes count in coarser steps than a second, so that a key's state is small."""

DEFAULT_QUIET: Final = "5m"
GAP_QUIET: Final = "1h"

Rungs = tuple[tuple[Priority, float], ...]
"""Thresholds with what reaching them means, the lowest priority first."""


class Threshold(NamedTuple):
    """What the rules that fire on arrival come down to."""

    window_s: int
    """A multiple of ``step_s``, never more than the rule's window: nothing is over-counted."""
    step_s: int
    rungs: Rungs
    resolve: int
    for_us: int
    keep_us: int
    lateness_us: int
    windows: tuple[int, int] = (1, 1)
    """N of the last M windows must be above."""
    counts_values: bool = False
    remember_s: int = 0
    """How long a key is known after it was last seen; a known key raises nothing."""
    by_clock: bool = False
    """Ends are concluded by the clock: what is counted is told when it is found."""
    no_data: NoData = "keep"

    @property
    def above(self) -> int:
        """The lowest threshold."""
        return int(self.rungs[0][1])

    @property
    def reach_s(self) -> int:
        """How far back a conclusion looks."""
        return self.window_s * self.windows[1]


class Judgement(NamedTuple):
    """What the rules that wait for the watermarks come down to."""

    measure: Literal["count", "ratio", "spike", "gauge"]
    window_s: int
    step_s: int
    rungs: Rungs
    is_below: bool
    resolve: float | None
    for_s: int
    keep_s: int
    lateness_us: int
    no_data: NoData
    windows: tuple[int, int] = (1, 1)
    baseline_s: int = 0
    at_least: int = 0
    use: Literal["last", "avg", "max", "min", "sum"] = "last"

    @property
    def above(self) -> float:
        """The lowest threshold."""
        return self.rungs[0][1]

    @property
    def reach_s(self) -> int:
        """How far back a conclusion looks."""
        return self.window_s * self.windows[1] + self.baseline_s

    @property
    def needs_all_s(self) -> int:
        """How much time must have been counted before anything can be concluded.

        What comes too little, or more than before, is told from a whole window; a share or a number
        means something as soon as it is there.
        """
        return self.reach_s if self.measure in {"count", "spike"} else 0


def is_threshold(rule: Rule) -> bool:
    """Tell whether a rule is concluded from what is there, on arrival."""
    if isinstance(rule, CountRule):
        return rule.above is not None
    return isinstance(rule, ThresholdRule)


def threshold(rule: ThresholdRule) -> Threshold:
    """Say what a rule counts, in the terms of the sliding window.

    ``match`` is more than none in the quiet time: it stays one alert while records keep coming, and
    ends when the quiet time has passed without one.
    """
    if isinstance(rule, CountRule | DistinctRule):
        levels = rungs(rule, rule.above)
        of = (rule.of if isinstance(rule, CountRule) else None) or (1, 1)
        window_s, step_s = _window(rule.window.us, of[1])
        lowest = int(levels[0][1])
        resolve = rule.resolve if isinstance(rule, CountRule) else None
        return Threshold(
            window_s=window_s,
            step_s=step_s,
            rungs=levels,
            resolve=lowest if resolve is None else resolve,
            for_us=rule.for_.us,
            keep_us=rule.keep_firing_for.us if rule.keep_firing_for else 0,
            lateness_us=rule.lateness.us,
            windows=of,
            counts_values=isinstance(rule, DistinctRule),
            no_data=rule.no_data,
        )
    by_clock = isinstance(rule, GapRule)
    quiet = rule.keep_firing_for or Duration(GAP_QUIET if by_clock else DEFAULT_QUIET)
    window_s, step_s = _window(quiet.us)
    return Threshold(
        window_s=window_s,
        step_s=step_s,
        rungs=rungs(rule, 0),
        resolve=0,
        for_us=0,
        keep_us=0,
        lateness_us=0 if isinstance(rule, GapRule) else rule.lateness.us,
        remember_s=rule.within.us // SECOND_US if isinstance(rule, NewErrorRule) else 0,
        by_clock=by_clock,
        no_data="keep" if isinstance(rule, GapRule) else rule.no_data,
    )


def judgement(rule: JudgedRule) -> Judgement:
    """Say what a rule judges, in the terms of the sliding window."""
    below = None if isinstance(rule, SpikeRule) else rule.below
    above = None if isinstance(rule, AbsenceRule) else rule.above
    of = (rule.of if isinstance(rule, CountRule | GaugeRule) else None) or (1, 1)
    baseline_us = rule.baseline.us if isinstance(rule, SpikeRule) else 0
    window_s, step_s = _window(rule.window.us, of[1], baseline_us)
    return Judgement(
        measure=_MEASURES[type(rule)],
        window_s=window_s,
        step_s=step_s,
        rungs=rungs(rule, below if below is not None else above),
        is_below=below is not None,
        resolve=None if isinstance(rule, AbsenceRule) else rule.resolve,
        for_s=rule.for_.us // SECOND_US,
        keep_s=rule.keep_firing_for.us // SECOND_US if rule.keep_firing_for else 0,
        lateness_us=rule.lateness.us,
        no_data=rule.no_data,
        windows=of,
        baseline_s=baseline_us // SECOND_US // step_s * step_s,
        at_least=rule.at_least if isinstance(rule, RatioRule | SpikeRule) else 0,
        use=rule.use if isinstance(rule, GaugeRule) else "last",
    )


_MEASURES: Final[dict[type, Literal["count", "ratio", "spike", "gauge"]]] = {
    CountRule: "count",
    AbsenceRule: "count",
    RatioRule: "ratio",
    SpikeRule: "spike",
    GaugeRule: "gauge",
}


def _window(window_us: int, times: int = 1, more_us: int = 0) -> tuple[int, int]:
    """Return length and step of the window, in seconds, where all that is kept has few steps."""
    window_s = max(1, window_us // SECOND_US)
    kept_s = window_s * times + more_us // SECOND_US
    step_s = min(window_s, -(-kept_s // MAX_BUCKETS_A_WINDOW))
    return window_s // step_s * step_s, step_s


def is_within_a_day(rule: JudgedRule | ThresholdRule) -> bool:
    """Tell whether all that a rule looks back on lies within a day."""
    spec = threshold(rule) if is_threshold(rule) else judgement(rule)  # type: ignore[arg-type]  # by its kind
    return spec.reach_s <= DAY_US // SECOND_US
