"""What is stored of a run is enough to make it again: steps to transitions, records to hits."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
from psycopg.rows import dict_row

from outrider.columns import Columns, pack_dictionary, pack_text
from outrider.instants import from_us, to_us
from outrider_alerting.components import ComponentState
from outrider_alerting.counting import HitCounter
from outrider_alerting.engine import StepInputs, step
from outrider_alerting.gaps import GapSeen
from outrider_alerting.program import Program
from outrider_alerting.rules import RuleSet
from outrider_alerting.state import EngineState
from outrider_alerting.watermarks import Record
from outrider_collector.alerts import inputs as translate
from outrider_collector.store import evaluation, rules
from tests.alerting.recorded_quorum import RecordedQuorum

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psycopg import AsyncConnection

    from outrider_alerting.engine import Part
    from outrider_alerting.episodes import Transition
    from outrider_alerting.hits import Hit

Told = tuple[Any, ...]
"""Rule, key, from, to, at, concluded at, reason, value."""

_STORED = """
select a.rule, a.key, t.from_state, t.to_state, t.at, t.concluded_at, t.reason, t.value
from alert_transitions t join alerts a on a.id = t.alert where t.step > 0 order by t.id
"""


async def stored(connection: AsyncConnection) -> list[Told]:
    """Return the transitions that steps stored, in their order."""
    return list(await (await connection.execute(_STORED)).fetchall())


async def replayed(connection: AsyncConnection) -> list[Told]:
    """Take the stored steps again, from nothing, and return what they tell."""
    return [_told(transition) for transition in await replay(connection)]


async def replay(connection: AsyncConnection) -> list[Transition]:
    """Take the stored steps again."""
    state = EngineState()
    # Before any rules were applied there are steps too.
    programs: dict[int | None, Program] = {None: Program(RuleSet(), 0)}
    transitions: list[Transition] = []
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute("select * from evaluation_steps order by step")
    for taken in await cursor.fetchall():
        version = taken["rule_set"]
        if version not in programs:
            active = await rules.load(connection, version)
            programs[version] = Program(active.rule_set, version, active.frozen)
        result = step(
            state,
            await _inputs(connection, taken, programs[version]),
            now_us=to_us(taken["now"]),
            program=programs[version],
            quorum=RecordedQuorum(msgspec.convert(taken["inputs"]["quorum"], Record)),
        )
        state.apply(result.changed, result.general)
        transitions.extend(result.transitions)
    return transitions


async def _inputs(
    connection: AsyncConnection, taken: dict[str, Any], program: Program
) -> StepInputs:
    _, feed = await evaluation.read_feed(connection, taken["feed_from"], 100_000)
    feed = [row for row in feed if row.number <= taken["feed_to"]]
    commits = [row.commit_id for row in feed if row.commit_id is not None]
    hits = translate.hits_in_order(feed, await evaluation.read_hits(connection, commits))
    part: Part = taken["inputs"]["part"]
    begin, end = taken["inputs"].get("cut") or (0, None)
    return StepInputs(
        part=part,
        hits=_of_part(part, map(translate.hit, hits), program)[begin:end],
        health=msgspec.convert(taken["inputs"]["health"], tuple[ComponentState, ...]),
        gaps=msgspec.convert(taken["inputs"]["gaps"], tuple[GapSeen, ...]),
    )


def _of_part(part: Part, hits: Iterable[Hit], program: Program) -> tuple[Hit, ...]:
    """Return a part of some hits, in their order, as the evaluator reads it."""
    if part == "all":
        return tuple(hits)
    wanted = part == "urgent"
    return tuple(hit for hit in hits if (hit.hits_key in program.urgent_keys) == wanted)


def _told(transition: Transition) -> Told:
    return (
        transition.rule,
        list(transition.key),
        transition.from_state,
        transition.to_state,
        from_us(transition.at_us),
        from_us(transition.concluded_us),
        transition.reason,
        transition.value,
    )


Counted = Counter[tuple[bytes, tuple[str, ...], int]]
"""Records by hits key, key and second."""


async def hits_stored(connection: AsyncConnection) -> Counted:
    """Return what the commits counted."""
    cursor = await connection.execute("select hits_key, key, bucket, n from hits")
    found: Counted = Counter()
    for hits_key, key, bucket, n in await cursor.fetchall():
        found[bytes(hits_key), tuple(key), to_us(bucket)] += n
    return found


async def hits_recounted(connection: AsyncConnection, rule_set: RuleSet) -> Counted:
    """Count the stored records anew, one by one, whatever batches they came in."""
    counter = HitCounter(rule_set)
    found: Counted = Counter()
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute("select * from logs where service <> 'outrider'")
    for record in await cursor.fetchall():
        for hit in counter.count(_columns(record)):
            found[hit.hits_key, hit.key, hit.bucket_us] += hit.n
    return found


def _columns(record: dict[str, Any]) -> Columns:
    def text(value: str | None) -> bytes:
        return pack_text([None if value is None else value.encode()])

    attributes = record["attributes"]
    return Columns(
        n=1,
        stream=record["stream"],
        service=record["service"],
        worker=record["worker"],
        host=record["host"],
        source=record["source"],
        ts_us=array("q", [to_us(record["ts"])]),
        observed_us=array("q", [to_us(record["observed_at"] or record["ts"])]),
        stream_offset=array("q", [record["stream_offset"]]),
        severity=bytes([record["severity"]]),
        message_raw=text(record["message"]),
        attributes_raw=text(
            None if attributes is None else msgspec.json.encode(attributes).decode()
        ),
        logger=pack_dictionary([record["logger"]]),
        event=pack_dictionary([record["event"]]),
        error_code=pack_dictionary([record["error_code"]]),
    )
