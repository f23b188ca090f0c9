"""Rules of the kind `gap`: what was lost is told with as much as is known of it."""

from __future__ import annotations

import pytest

from outrider_alerting.gaps import GapSeen
from tests.alerting.scene import T0, S, Scene

GAP = """
[[rule]]
name = "gap"
kind = "gap"
keep_firing_for = "60s"
"""


def _gap(at: float, n: int = 37, *, at_least: bool = False) -> GapSeen:
    return GapSeen(
        service="pay", worker="w1", host="h1", reason="disk_full", records=n,
        at_least=at_least, detected_us=int((T0 + at) * S),
    )  # fmt: skip


WHOSE = "of service pay, worker w1, host h1"


def test_a_gap_is_told_by_its_row() -> None:
    """A gap row fires at once, more of it are the same alert, and it ends by the clock."""
    scene = Scene(GAP)
    (fired,) = scene.step(1, gaps=[_gap(1)])
    scene.step(30, gaps=[_gap(30)])
    for at in range(31, 120):
        scene.step(at, sources=[])

    assert fired.summary == "gap: 37 records lost of service pay, worker w1, host h1: disk_full"
    assert scene.told() == [
        ("inactive", "firing", 1), ("firing", "firing", 61), ("firing", "resolved", 90),
    ]  # fmt: skip


def test_a_loss_grows_with_each_gap() -> None:
    """An open alert says once a minute what all its gaps come to, and its end says it too."""
    scene = Scene(GAP, restarts=True)
    scene.step(1, gaps=[_gap(1)])
    for at in range(2, 200):
        scene.step(at, sources=[], gaps=[_gap(at, 100)] if at in {20, 40, 70, 90} else ())

    told = [(t.to_state, t.at_us // S - T0, t.value, t.summary.split(" of ")[0], t.reason)
            for t in scene.transitions]  # fmt: skip
    assert told == [
        ("firing", 1, 37, "gap: 37 records lost", "37 records lost"),
        ("firing", 61, 237, "gap: 237 records lost", "237 records lost"),
        ("firing", 121, 437, "gap: 437 records lost", "437 records lost"),
        ("resolved", 150, 437, "gap: 437 records lost",
         "no more for 1m; in all 437 records lost"),
    ]  # fmt: skip
    (again,) = scene.step(200, gaps=[_gap(200, 5)])
    assert again.value == 5


def test_a_gap_that_comes_as_its_alert_ends_is_of_the_next() -> None:
    """What is found in the second of the end is not counted with what is over."""
    scene = Scene(GAP)
    scene.step(1, gaps=[_gap(1)])
    ended, fired = scene.step(80, gaps=[_gap(80, 5)])

    assert (ended.to_state, ended.value, fired.to_state, fired.value) == (
        "resolved",
        37,
        "firing",
        5,
    )


@pytest.mark.parametrize(("gap", "summary", "value"), [
    (_gap(1, 0), f"gap: lines lost {WHOSE}, nobody knows how many: disk_full", None),
    (_gap(1, 1, at_least=True), f"gap: at least 1 record lost {WHOSE}: disk_full", 1),
])  # fmt: skip
def test_no_number_is_made_up(gap: GapSeen, summary: str, value: float | None) -> None:
    """Where nobody knows how much was lost, an alert has no number."""
    (fired,) = Scene(GAP).step(1, gaps=[gap])

    assert (fired.summary, fired.value, fired.threshold) == (summary, value, None)
    assert summary.split(": ")[1].replace(f" {WHOSE}", "") == fired.reason


def test_a_summary_of_ones_own_says_how_much_is_known() -> None:
    """`{count}` is a number, a lower bound, or says that there is none."""
    scene = Scene(GAP + 'summary = "{count} records gone"\n')
    scene.step(1, gaps=[_gap(1, 0)])
    scene.step(80, gaps=[_gap(80, 5, at_least=True)])

    fired = [t.summary for t in scene.transitions if t.from_state == "inactive"]
    assert fired == ["an unknown number of records gone", "at least 5 records gone"]
