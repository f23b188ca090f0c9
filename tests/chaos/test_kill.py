"""The kill test: whatever is killed, whenever, each line is in Postgres once."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import time
from collections import defaultdict
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
import pytest

from outrider_collector.store.connect import connect
from tests.chaos import alarms
from tests.chaos.checker import disordered, hits_of
from tests.chaos.conftest import LAST_LINES
from tests.chaos.faults import FAULTS, name_of
from tests.chaos.stage import PROCESSES, Stage, set_up
from tests.collector.alerts.replaying import replayed, stored

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.faults import Fault
    from tests.chaos.oracle import Oracle, Totals

ROUNDS = int(os.environ.get("OUTRIDER_CHAOS_ROUNDS", "30"))
SEED = int(os.environ.get("OUTRIDER_CHAOS_SEED", "1"))
_CAUGHT_UP_WITHIN_S = 45.0
_LOSING_ROUNDS_MAX = 5
_BUG = re.compile(r"Traceback \(most recent|a bug in the (?:agent|collector)")


@dataclass(slots=True)
class Row:
    """What one kind of fault came to."""

    rounds: int = 0
    lost: int = 0
    twice: int = 0
    replayed: int = 0
    gaps: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Run:
    """One run over its rounds."""

    stage: Stage
    oracle: Oracle
    table: dict[str, Row] = field(default_factory=lambda: defaultdict(Row))
    rounds: int = 0
    losing_rounds: int = 0
    ended: list[str] = field(default_factory=list)
    """Processes that ended by themselves, and when."""

    async def round(self, fault: Fault) -> None:
        """One fault, one check."""
        name = name_of(fault)
        before = await asyncio.to_thread(self.oracle.totals)
        started = time.monotonic()
        _raise_alarm(self.stage.fleet.logs, self.rounds)
        self.rounds += 1
        await fault(self.stage)
        missing = await self.settled(_CAUGHT_UP_WITHIN_S)
        lost = sum(map(len, missing.values()))
        seconds = time.monotonic() - started
        after = await asyncio.to_thread(self.oracle.totals)
        # A database that was restored takes what the oracle saw back with it.
        twice, replayed, gaps = (
            max(0, now - then) for now, then in zip(after.counts, before.counts, strict=True)
        )
        row = self.table[name]
        row.rounds, row.seconds = row.rounds + 1, row.seconds + seconds
        row.lost, row.twice = row.lost + lost, row.twice + twice
        row.replayed, row.gaps = row.replayed + replayed, row.gaps + gaps
        print(
            f"round {self.rounds}: {name}: {seconds:.1f} s"
            f"{f', lost {lost}' * bool(lost)}{f', twice {twice}' * bool(twice)}"
            f"{f', replayed {replayed}' * bool(replayed)}"
            f"{f', gaps {gaps} {after.lie_in_gaps}' * bool(gaps)}",
            flush=True,
        )
        if missing:
            self.losing_rounds += 1
            self._show(missing)
            await asyncio.to_thread(self.oracle.give_up, missing)
        for process in PROCESSES:
            if not self.stage.fleet.running(process):
                self.ended.append(f"{process} in round {self.rounds}, {name}")
                self.stage.start(process)

    async def settled(self, within_s: float) -> dict[str, list[int]]:
        """Wait until what is written now is accounted for; return what is not by then."""
        targets = self.stage.targets()
        missing: dict[str, list[int]] = {"all": [0]}
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            try:
                missing = await asyncio.to_thread(self.oracle.look, targets)
            except psycopg.OperationalError:
                await asyncio.sleep(0.1)
                continue
            if not missing:
                break
            await asyncio.sleep(0.1)
        return missing

    def _show(self, missing: dict[str, list[int]]) -> None:
        for service, numbers in missing.items():
            print(f"  {service}: {len(numbers)} of {numbers[0]} to {numbers[-1]}")
        for process in PROCESSES:
            print(f"  {process}: {self.stage.fleet.output(process)[-1500:]}")

    def totals(self, final: Totals | None = None) -> Row:
        """The sum of the table; where a recount says otherwise, the worse."""
        rows = list(self.table.values())
        total = Row(self.rounds)
        for name in ("lost", "twice", "replayed", "gaps"):
            told = max(sum(getattr(row, name) for row in rows), getattr(final, name, 0))
            setattr(total, name, told)
        return total

    def bugs(self) -> list[str]:
        """What processes said of themselves that no process should, and who ended unasked."""
        said = [
            f"{name}: {found}"
            for name in (*PROCESSES, "clone")
            for found in _BUG.findall(self.stage.fleet.output(name))
        ]
        failed = [text for worker in self.stage.workers for text in worker.failures]
        return [*said, *self.ended, *failed, *self.stage.short_lived.failures]

    def lines(self, final: Totals | None = None) -> list[str]:
        """Return the table, and the line that is the verdict."""
        head = ("fault", "rounds", "lost", "twice", "replayed", "gaps", "s a round")
        body = [
            (name, *map(str, (r.rounds, r.lost, r.twice, r.replayed, r.gaps)),
             f"{r.seconds / r.rounds:.1f}")
            for name, r in sorted(self.table.items())
        ]  # fmt: skip
        widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
        table = [
            f"{row[0]:<{widths[0]}}"
            + "".join(f"  {c:>{w}}" for c, w in zip(row[1:], widths[1:], strict=True))
            for row in (head, *body)
        ]
        total = self.totals(final)
        verdict = (
            f"chaos: {self.rounds} rounds, seed {SEED}: lost {total.lost}, twice {total.twice}, "
            f"replayed {total.replayed}, gaps {total.gaps}, bugs {len(self.bugs())}"
        )
        return [
            *table,
            verdict,
        ]


@pytest.mark.chaos
@pytest.mark.timeout(5400)
async def test_every_line_once_whatever_is_killed(request: pytest.FixtureRequest) -> None:
    """After each round all lines are stored; at the end none is lost, none twice, all in order."""
    rng = random.Random(SEED)
    async with set_up(rng) as stage, AsyncExitStack() as resources:
        run = Run(stage, resources.enter_context(closing(stage.oracle())))
        say = request.config.stash.setdefault(LAST_LINES, [])
        say += [f"chaos: 0 rounds, seed {SEED}: nothing was tried"]
        await asyncio.to_thread(run.oracle.prepare)
        tasks = [asyncio.create_task(writer.run()) for writer in stage.writers]
        while not all(run.stage.targets().values()):
            await asyncio.sleep(0.05)
        assert await run.settled(60) == {}
        plan = [FAULTS[n % len(FAULTS)] for n in range(max(ROUNDS, len(FAULTS)))]
        rng.shuffle(plan)
        enough = asyncio.Event()
        # Ctrl-C and `timeout` give the verdict on the rounds so far, and leave nothing behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, enough.set)
        for fault in plan[:ROUNDS]:
            if enough.is_set():
                break
            await run.round(fault)
            say[:] = run.lines()
            assert run.losing_rounds < _LOSING_ROUNDS_MAX, f"seed {SEED}: see above"
        stage.stop_writers()
        await asyncio.gather(*tasks)
        late = await run.settled(60)
        await _told(stage)
        missing = await asyncio.to_thread(run.oracle.recount, stage.targets())
        final = await asyncio.to_thread(run.oracle.totals)
        say[:] = run.lines(final)
        print(
            f"{sum(ledger.written for ledger in stage.ledgers)} lines, "
            f"{sum(file.rotations for file in stage.files)} rotations, "
            f"{stage.short_lived.processes} processes, {stage.proxy.lost} lost answers, "
            f"{sum(worker.lives for worker in stage.workers)} lives of workers, "
            f"died at {sorted(stage.hit)}"
        )
        assert (late, missing) == ({}, {})
        _judge(run, run.totals(final))
        await _replay(stage)


def _judge(run: Run, total: Row) -> None:
    stage = run.stage
    with stage.connect() as connection:
        out_of_order = {
            ledger.service: disordered(connection, ledger.service) for ledger in stage.ledgers
        }
        quarantined = connection.execute("select count(*) from quarantine").fetchone()
        errors = connection.execute(
            "select count(*) from logs where service = 'chaos' and severity >= 17"
        ).fetchone()
        hits = hits_of(connection, "errors")
        fates = connection.execute(
            "select fate, count(*) from notifications where channel = 'ops' group by fate"
        ).fetchall()
        notices = alarms.read(connection)
        doubled = connection.execute(
            "select rule, key from alerts where rule = 'alarm'"
            " group by rule, key having count(*) > 1"
        ).fetchall()
    print(f"messages: {dict(fates)}")

    assert (total.lost, total.twice) == (0, 0)
    assert run.bugs() == []
    assert {service: n for service, n in out_of_order.items() if n} == {}
    assert quarantined == (0,)
    assert errors is not None
    assert hits == errors[0]
    assert doubled == []
    # Each alarm was told, and in one more message at most where an outcome was never known.
    assert sum(row.notice == "fired" for row in notices.values()) == run.rounds
    assert set(dict(fates)) <= {"sent", "unknown", "superseded"}
    for row in notices.values():
        teller = alarms.teller(notices, row)
        if row.notice == "fired":
            told = alarms.messages_about(stage.bot.versions, row.alert, teller.message)
            assert 1 <= len(told) <= 2, (row, teller, told)


async def _replay(stage: Stage) -> None:
    """What the run recorded, taken again from nothing, tells the same, byte for byte."""
    async with await connect(stage.fleet.url, application_name="outrider test") as connection:
        transitions = await stored(connection)
        assert transitions
        assert await replayed(connection) == transitions


def _raise_alarm(logs: Path, number: int) -> None:
    """One line that fires one alert, in a file of its own; not numbered."""
    with (logs / "alarms.log").open("ab") as out:
        out.write(b'{"level":"warn","message":"alarm","attributes":{"round":%d}}\n' % number)


async def _told(stage: Stage) -> None:
    """Wait until no message and no edit waits; a killed claim is free after its lease."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with stage.connect() as connection:
            row = connection.execute(
                "select count(*) from notifications"
                " where fate in ('waiting', 'claimed') or edits_owed > 0"
            ).fetchone()
        if row == (0,):
            return
        await asyncio.sleep(0.5)
