"""Nothing is committed: a collector says so, or none says anything; readers do not call it well."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from outrider.filter import parse
from outrider_collector.doctor import judge
from outrider_collector.store.reading import fleet, health
from outrider_collector.store.reading.completeness import completeness, sentence, text
from outrider_collector.store.reading.standstill import standstills
from outrider_collector.terminal.status_text import status_lines
from tests.collector.reading.rows import Source, born

if TYPE_CHECKING:
    from psycopg import AsyncConnection

FULL = "no space left on device: free room on the database's disk"


async def collector(
    owner: AsyncConnection[Any], name: str, seen_s_ago: int, stopped: bool, **status: Any
) -> None:
    """Store what a collector last said."""
    await owner.execute(
        "insert into collectors (name, started_at, seen_at, stopped_at, status)"
        " values (%(name)s, now(), now() - make_interval(secs => %(ago)s),"
        " case when %(stopped)s then now() - make_interval(secs => %(ago)s) end, %(status)s)",
        {"name": name, "ago": seen_s_ago, "stopped": stopped, "status": Jsonb(status)},
    )


async def told(reader: AsyncConnection[Any]) -> tuple[str, str, str]:
    """Return how `status`, `doctor` and the completeness line begin."""
    view, now = await fleet.overview(reader), await health.now(reader)
    collectors = await health.collectors(reader)
    status = status_lines(view, [], collectors, await health.store(reader), colours=False)
    findings = [one.line for one in judge.collectors(collectors, now)]
    state = await completeness(reader, parse(""), now - timedelta(hours=1), now)
    assert state.whole == (state.standstill is None)
    return status[0], findings[0], text(sentence(state, now))


async def test_commits_that_fail_are_the_first_thing_said(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """By every reader: since when, why, and what to do."""
    await born(owner, Source(1), await health.now(reader))
    await collector(owner, "one", 0, stopped=False, failing_for_s=120, failing_reason=FULL)
    await collector(owner, "two", 0, stopped=False, failing_for_s=0.2, failing_reason="x")
    status, doctor, complete = await told(reader)

    assert status.startswith("Commits fail for 2 min") and status.endswith(f": {FULL}.")
    assert doctor.startswith("bad   collector: commits of one fail for 2 min")
    assert doctor.endswith(f": {FULL}")
    assert complete.startswith("Commits fail since ") and f": {FULL}. Complete up to " in complete
    assert [one.collector for one in standstills(await health.collectors(reader))] == ["one"]
    ((cause),) = (await fleet.overview(reader)).causes
    assert (cause.kind, cause.reason) == ("not_committing", FULL)


async def test_a_row_that_nobody_renews_is_not_taken_for_well(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """A full disk refuses the row too: unknown is the leading word, whatever the row says."""
    await collector(owner, "one", 60, stopped=False, failing_for_s=0)
    status, doctor, complete = await told(reader)

    assert status.startswith("Unknown: no collector reports, for 1 min")
    assert "its log says why" in status
    assert doctor.startswith("bad   collector: unknown, none has reported for 1 min")
    assert complete.startswith("Unknown since ")


async def test_one_collector_that_commits_is_enough(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Others that were stopped or replaced are no standstill; when the last stops, that is said."""
    await collector(owner, "old", 3_600, stopped=False)
    await collector(owner, "stopped", 40, stopped=True)
    (gone,) = standstills(await health.collectors(reader))
    assert (gone.kind, gone.collector) == ("collector_silent", "stopped")
    assert gone.reason.startswith("it was stopped: start it")
    await collector(owner, "one", 0, stopped=False)
    assert standstills(await health.collectors(reader)) == []
    assert standstills([]) == []


async def test_alerts_that_are_not_evaluated_are_told(
    owner: AsyncConnection[Any], reader: AsyncConnection[Any]
) -> None:
    """Since when, why and what to do; not while another collector evaluates; logs are complete."""
    await born(owner, Source(1), await health.now(reader))
    bug = {"state": "failing", "error": "a mistake: report it", "out_for_s": 120}
    await collector(owner, "one", 0, stopped=False, evaluator=bug)
    await collector(owner, "two", 0, stopped=False, evaluator={"state": "waiting"})
    status, doctor, complete = await told(reader)

    assert status == "Alerts are not evaluated for 2 min: a mistake: report it."
    assert doctor == "bad   alerts: alerts are not evaluated for 2 min: a mistake: report it"
    assert complete.startswith("Complete up to ")
    await owner.execute(
        "update collectors set status = %s where name = 'two'",
        (Jsonb({"evaluator": {"state": "evaluating"}}),),
    )
    assert not (await fleet.overview(reader)).causes
