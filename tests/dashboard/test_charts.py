"""Chart geometry."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider_dashboard.charts import episode
from outrider_dashboard.charts.lanes import intervals
from outrider_dashboard.charts.scale import TimeScale, ceiling, merged, number
from outrider_dashboard.charts.spark import curve, tile_spark
from outrider_dashboard.charts.waterline import BAR_UNITS, Counts, area_chart, bar_chart

NOON = datetime(2026, 7, 14, 12, tzinfo=UTC)
HOUR = TimeScale(NOON, NOON + timedelta(hours=1))
_BAR = re.compile(r"M(\d+) ([\d.]+)v(-?[\d.]+)h10")
_COUNTS = st.lists(
    st.builds(Counts, *[st.integers(0, 10**9)] * 4), min_size=1, max_size=130
)  # fmt: skip


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (1, 1), (63.2, 64), (64, 64), (1999, 2000), (45_231, 46_000), (7, 7)]
)
def test_ceiling(value: float, top: float) -> None:
    """The top of an axis is the next number of two digits."""
    assert ceiling(value) == top


@given(st.floats(min_value=0, max_value=1e15))
def test_ceiling_is_never_below(value: float) -> None:
    """No bar is higher than its axis."""
    assert ceiling(value) >= value * (1 - 1e-9)


def test_number() -> None:
    """Coordinates are short."""
    assert [number(v) for v in (1.0, 1.50, -0.001, 2.345)] == ["1", "1.5", "0", "2.35"]


@given(_COUNTS)
def test_bars_stay_on_their_side(counts: list[Counts]) -> None:
    """Volume ends at the line, problems begin below it, and neither leaves the chart."""
    chart = bar_chart(counts, 54, 30)

    for x, y, height in _BAR.findall(chart.volume):
        assert float(y) == 54
        assert -54.01 <= float(height) <= -1
        assert int(x) < chart.width
    for path in (chart.error, chart.warn):
        for _, y, height in _BAR.findall(path):
            assert float(y) >= chart.line
            assert float(height) > 0


def test_three_errors_among_forty_thousand_lines_are_seen() -> None:
    """Problems have a scale of their own, so few of them hang as deep as many would."""
    chart = bar_chart([Counts(volume=40_000, error=3)], 54, 30)

    assert (chart.top, chart.bottom) == (40_000, 3)
    assert _BAR.findall(chart.error) == [("0", "55.5", "29")]


def test_warn_hangs_under_error() -> None:
    """Error touches the line; warn hangs under it, three quarters of a pixel apart."""
    chart = bar_chart([Counts(error=10, warn=10), Counts(warn=20)], 54, 30)

    bars = _BAR.findall(chart.warn)

    assert float(bars[0][1]) == 55.5 + 14.5 + 0.75
    assert float(bars[1][1]) == 55.5


def test_nothing_is_drawn_for_nothing() -> None:
    """A span without lines has no bar, not one of height zero."""
    chart = bar_chart([Counts(), Counts(volume=1)], 54, 30)

    assert chart.volume.count("M") == 1
    assert (chart.warn, chart.error) == ("", "")


def test_narrow_charts_sum_neighbours() -> None:
    """A narrow chart draws fewer bars and loses no line."""
    assert merged([1, 2, 3, 4, 5], 3) == [3, 7, 5]
    assert bar_chart([Counts(1)] * 120, 40, 20, 60).width == 60 * BAR_UNITS


def test_debug_lies_above_the_rest() -> None:
    """The debug part of volume is an area of its own with its own edge, only where there is any."""
    with_debug = area_chart([Counts(volume=5, debug=5)] * 3, 100, 46)
    without = area_chart([Counts(volume=5)] * 3, 100, 46)

    assert with_debug.debug_edge != with_debug.volume_edge
    assert (without.debug, without.debug_edge) == ("", "")


def test_a_sparkline_stops_where_knowledge_stops() -> None:
    """After its end or its last heartbeat a worker's line is not drawn on."""
    hour = [Counts(volume=10, warn=1)] * 60

    silent = tile_spark(hour, unknown_from=0.5)
    dead = tile_spark(hour, ended_at=0.5)

    assert silent.unknown_x == dead.end_x == 36
    assert silent.edge.count("L") == dead.edge.count("L") == 29
    assert tile_spark([]).edge == ""


def test_curves_have_holes() -> None:
    """What was not measured is not joined by a line."""
    drawn = curve([(0, 1.0), (0.2, 2.0), (0.4, None), (0.6, 1.0), (0.8, 1.0)], 100, 50, limit=4)

    assert drawn.edge.count("M") == 2
    assert drawn.limit_y == 0


def test_ticks_divide_the_range() -> None:
    """The outer labels stay inside the chart."""
    ticks = HOUR.ticks(4, lambda at: f"{at:%H:%M}")

    assert [t.label for t in ticks] == ["12:00", "12:15", "12:30", "12:45", "13:00"]
    assert [t.anchor for t in ticks] == ["start", "middle", "middle", "middle", "end"]


def test_lanes_fill_the_range() -> None:
    """Intervals follow each other without a hole, what lies before the first change included."""
    found = intervals(
        [(NOON - timedelta(hours=3), "up"), (NOON + timedelta(minutes=30), "dead")], HOUR
    )

    assert [(i.state, i.x, i.width) for i in found] == [("up", 0, 50), ("dead", 50, 50)]


def test_short_intervals_are_seen() -> None:
    """A second in a day still has a width, and carries no word."""
    day = TimeScale(NOON, NOON + timedelta(days=1))
    end = NOON + timedelta(days=1)

    found = intervals([(NOON, "up"), (end - timedelta(seconds=1), "dead")], day)

    assert found[1].width == 0.25
    assert found[1].x + found[1].width <= 100
    assert not found[1].labelled


def test_an_episode_is_drawn_on_one_axis() -> None:
    """Values, thresholds, states and who was told share the time axis."""
    scale = episode.span(NOON, None, NOON + timedelta(minutes=30))
    at = NOON + timedelta(minutes=3)

    drawn = episode.draw(
        scale,
        values=[(NOON + timedelta(minutes=m), float(m)) for m in range(30)],
        thresholds=[(10, "fires 10", True), (9.5, "ends 9.5", False)],
        changes=[(NOON, "pending"), (at, "firing")],
        told=[(at, "sent", ""), (NOON - timedelta(days=1), "sent", "before the axis")],
        write=lambda moment: f"{moment:%H:%M}",
    )

    firing = next(i for i in drawn.states if i.state == "firing")
    assert [m.percent for m in drawn.told] == [firing.x]
    assert drawn.thresholds[0].y < drawn.thresholds[1].y
    assert drawn.thresholds[1].label_y - drawn.thresholds[0].label_y >= 13


def test_marks_of_one_moment_do_not_cover_each_other() -> None:
    """Equal ones become one with their number, others stand beside each other."""
    scale = episode.span(NOON, None, NOON + timedelta(minutes=30))
    at = NOON + timedelta(minutes=3)
    drawn = episode.draw(
        scale,
        values=[],
        thresholds=[],
        changes=[],
        told=[(at, "sent", ""), (at, "sent", ""), (at, "failed", ""), (at, "person", "seen")],
        write=lambda moment: f"{moment:%H:%M}",
    )

    assert [(mark.glyph, mark.label) for mark in drawn.told] == [
        ("sent", "2 times"), ("failed", ""), ("person", "seen"),
    ]  # fmt: skip
    places = [mark.percent for mark in drawn.told]
    assert all(b - a >= 2.9 for a, b in pairwise(places))


def test_marks_and_labels_stay_within_the_chart() -> None:
    """What was told last stands at the end, its label below it; the chart's name has room."""
    now = NOON + timedelta(minutes=30)
    drawn = episode.draw(
        episode.span(NOON, None, now),
        values=[(NOON, 1.0), (now, 2.0)],
        thresholds=[(10, "fires 10", True)],
        changes=[],
        told=[(now, "sent", ""), (now, "sent", ""), (now, "failed", ""), (NOON, "person", "seen")],
        write=lambda moment: f"{moment:%H:%M}",
    )

    assert [(mark.label, mark.is_late) for mark in drawn.told] == [
        ("seen", False), ("2 times", True), ("", False),
    ]  # fmt: skip
    places = [mark.percent for mark in drawn.told]
    assert places[-1] <= 98.5
    assert all(b - a >= 2.9 for a, b in pairwise(places))
    assert drawn.thresholds[0].label_y >= 24


def test_a_window_sums_what_it_covers() -> None:
    """The value a rule saw is the sum over its window."""
    assert episode.windowed([1, 2, 3, 4], 2) == [1, 3, 5, 7]
