"""The kit: every part once, with figures that never change. A page for tests and for designers."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from outrider import durations
from outrider_dashboard import highlight, numbers, ranges, sentences, timing
from outrider_dashboard.charts.spark import tile_spark
from outrider_dashboard.charts.waterline import Counts, area_chart, bar_chart
from outrider_dashboard.panels import Panel
from outrider_dashboard.site import Visit

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

NOW = datetime(2026, 7, 14, 14, 3, 24, tzinfo=UTC)

MEANINGS = (
    ("ok", "it works"),
    ("warn", "it suffers"),
    ("bad", "it is broken"),
    ("blind", "we do not know"),
    ("accent", "you can act"),
)
NEUTRALS = (
    "text", "text-2", "text-3", "control", "line-2", "line", "raised", "surface", "bg", "inset",
)  # fmt: skip
WORKER_STATES = (
    ("up", "heartbeat, loop and progress are fresh"),
    ("degraded", "alive, but a dependency fails"),
    ("lagging", "alive, but its backlog grows"),
    ("silent", "no heartbeat; nothing else is known"),
    ("dead", "the agent saw it end, with signal or code"),
    ("maintenance", "announced pause"),
    ("unknown", "not measured yet"),
)
ALERT_STATES = (
    ("pending", "true, but not long enough"),
    ("firing", "true, and told"),
    ("recovering", "false, but not long enough"),
    ("resolved", "over"),
)
FATES = (
    ("sent", "sent", "412 ms"),
    ("suppressed", "suppressed", "by silence 31"),
    ("superseded", "superseded", "by the acknowledgement"),
    ("waiting", "waiting", "next try in 30 s"),
    ("failed", "failed", "421 4.7.0 try again later"),
    ("dead", "dead", "after 8 tries, in-app instead"),
    ("silent", "outcome unknown", "repeated once, marked"),
)


COMPLETIONS = (
    ("EXCH", "ANGE_UNAVAILABLE", "268"),
    ("EXCH", "ANGE_RATE_LIMITED", "96"),
    ("EXCH", "*", "364, any of 2"),
)


async def page(request: Request) -> Response:
    """Render the kit. It asks the store for nothing but the number in the header."""
    visit = Visit(request)
    alerts = await visit.open_alerts()
    counts = _counts()
    quiet = [replace(c, warn=i % 17 == 3, error=i % 23 == 9) for i, c in enumerate(counts[:60])]
    failed: Panel[object] = Panel(
        "This panel could not be built", failed=True, since=NOW, code="INTERNAL_BUG",
        text="A rule has a label this page does not understand.", correlation_id="9f3e-c41b",
    )  # fmt: skip
    stale: Panel[object] = Panel(
        "Stale", stale=True, good_at=visit.clock.now - timedelta(seconds=92), since=NOW,
        code="STORE_DOWN", text="The store did not answer within 8 s.", correlation_id="9f3e-c41a",
    )  # fmt: skip
    return visit.page(
        "kit.html",
        "Kit",
        alerts,
        meanings=MEANINGS,
        neutrals=NEUTRALS,
        worker_states=WORKER_STATES,
        alert_states=ALERT_STATES,
        fates=FATES,
        runs=highlight.runs("service:trading error_code:EXCH"),
        completions=COMPLETIONS,
        range_names=ranges.NAMES.values(),
        wrong_runs=highlight.runs("service:trading severity=>error"),
        completeness=_completeness(),
        times=_times(),
        bars=bar_chart(counts, 54, 30),
        area=area_chart(counts, 100, 46),
        sparks=[
            ("up", tile_spark(quiet)),
            ("silent", tile_spark(quiet, unknown_from=0.85)),
            ("dead", tile_spark(quiet, ended_at=0.94)),
        ],
        failed=failed,
        old=stale,
    )


def _counts() -> list[Counts]:
    """Return a day that a person could believe, without chance."""
    out = []
    for i in range(120):
        wave = math.sin(i / 9) + 0.4 * math.sin(i / 2.3)
        trouble = 60 < i < 84
        out.append(
            Counts(
                volume=int(9000 + 1800 * wave),
                debug=int(4000 + 700 * math.cos(i / 7)),
                warn=(18 if trouble else 4) + i % 5,
                error=(14 if trouble else 1) + i % 3,
            )
        )
    return out


def _completeness() -> list[list[sentences.Piece]]:
    piece = sentences.Piece
    whole = [piece("Complete up to "), piece("14:03:22 UTC", strong=True)]
    return [
        [*whole, piece(" for this filter, without exception.")],
        [
            *whole, piece(" for this filter, except "),
            piece("etl-ledger-2, 2.1 MB behind", "/kit"), piece(" and "),
            piece("gap #12, 37 lines", "/kit"), piece("."),
        ],
        [
            piece("Completeness is not known", blind=True),
            piece(" since 14:01:52 UTC. Agents keep on their own disks what they cannot deliver."),
        ],
    ]  # fmt: skip


def _times() -> list[tuple[str, str]]:
    clock = timing.Clock(NOW)
    row = NOW - timedelta(seconds=1.582)
    return [
        ("row of a log", clock.row(row)),
        ("sentence, first use in a view", clock.sentence(row)),
        ("age below one minute", durations.said(33)),
        ("age", ", then ".join(map(durations.said, (1337, 11_100, 172_800)))),
        ("another day", clock.plain(NOW - timedelta(hours=15, minutes=22, seconds=17))),
        ("last words", f"{timing.offset(-0.91)}, {timing.offset(-12.4)}"),
        ("latency", f"{timing.latency(412)}, {timing.latency(2800)}"),
        (
            "bytes",
            ", ".join(
                [
                    numbers.file_size(96_000),
                    numbers.file_size(2_100_000),
                    f"{numbers.memory_size(2 * 2**30)} for memory",
                ]
            ),
        ),
        ("counts", f"{numbers.count(21_806)}, and {numbers.count(34e6)} from a million on"),
        ("missing", f"{timing.DASH} where there is nothing, hatch where we do not know"),
    ]
