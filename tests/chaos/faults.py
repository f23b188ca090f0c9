"""What goes wrong in a round: one fault each, by name, on a running fleet."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import psycopg

from tests.chaos import copies, steered, wires
from tests.chaos.stage import (
    COLLECTORS,
    PROCESSES,
    kill_server,
    restart_server,
    server_pids,
    signal_all,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.chaos.stage import Stage

    Fault = Callable[[Stage], Awaitable[None]]

_DIES_WITHIN_S = 12.0
_STARTS = ("STORE_DOWN", "COLLECTOR_UNREACHABLE")
_LEASE_S = 8.0
_REPEATED_WITHIN_S = 60.0
_STEPS_S = (-86_400, -3_600, -5, 5, 3_600, 86_400)


async def kill_agent(stage: Stage) -> None:
    """SIGKILL the agent, start it again."""
    await stage.soon()
    stage.fleet.kill("agent")
    await stage.soon(0.5)
    stage.start("agent")


async def stop_agent(stage: Stage) -> None:
    """SIGSTOP the agent for a while."""
    await stage.soon()
    stage.fleet.signal("agent", signal.SIGSTOP)
    await asyncio.sleep(stage.rng.uniform(0.3, 2.0))
    stage.fleet.signal("agent", signal.SIGCONT)


async def terminate_agent(stage: Stage) -> None:
    """Stop the agent in order, start it again."""
    await stage.soon()
    await asyncio.to_thread(stage.fleet.stop, "agent")
    stage.start("agent")


def kill_collector(name: str) -> Fault:
    """SIGKILL one collector, start it again; the agent goes to the other meanwhile."""

    async def fault(stage: Stage) -> None:
        await stage.soon()
        stage.fleet.kill(name)
        await stage.soon(0.5)
        stage.start(name)

    return _named(fault, f"kill {name}")


def stop_collector(name: str) -> Fault:
    """SIGSTOP one collector (it may hold the feed lock or the evaluator's lease), then go on."""

    async def fault(stage: Stage) -> None:
        await stage.soon()
        stage.fleet.signal(name, signal.SIGSTOP)
        await asyncio.sleep(stage.rng.uniform(0.5, 3.0))
        stage.fleet.signal(name, signal.SIGCONT)

    return _named(fault, f"stop {name}")


def terminate_collector(name: str) -> Fault:
    """Stop one collector in order, start it again: the agent alternates."""

    async def fault(stage: Stage) -> None:
        await stage.soon()
        await asyncio.to_thread(stage.fleet.stop, name)
        stage.start(name)

    return _named(fault, f"terminate {name}")


async def kill_both_collectors(stage: Stage) -> None:
    """SIGKILL both collectors at once."""
    await stage.soon()
    for name in COLLECTORS:
        stage.fleet.kill(name)
    for name in COLLECTORS:
        stage.start(name)


async def stop_evaluator(stage: Stage) -> None:
    """SIGSTOP the collector that evaluates, in one of four rounds until another took over."""
    holder = await asyncio.to_thread(_evaluator, stage)
    name = next((n for n in COLLECTORS if n in holder), COLLECTORS[0])
    stage.fleet.signal(name, signal.SIGSTOP)
    long = stage.rng.randrange(4) == 0
    deadline = time.monotonic() + (_LEASE_S if long else stage.rng.uniform(0.5, 2.0))
    while time.monotonic() < deadline:
        await asyncio.sleep(0.25)
        now = await asyncio.to_thread(_evaluator, stage)
        if now and name not in now:
            break
    stage.fleet.signal(name, signal.SIGCONT)


def _evaluator(stage: Stage) -> str:
    with contextlib.suppress(psycopg.OperationalError), stage.connect() as connection:
        row = connection.execute("select holder from leases where name = 'evaluator'").fetchone()
        return str(row[0]) if row else ""
    return ""


async def kill_backend(stage: Stage) -> None:
    """SIGKILL one Postgres backend: the postmaster restarts them all."""
    await stage.soon()
    with contextlib.suppress(psycopg.OperationalError), stage.connect() as connection:
        pids = connection.execute(
            "select pid from pg_stat_activity where backend_type = 'client backend'"
            " and pid <> pg_backend_pid() and datname = current_database()"
        ).fetchall()
        if pids:
            os.kill(stage.rng.choice(pids)[0], signal.SIGKILL)


async def kill_postmaster(stage: Stage) -> None:
    """SIGKILL the postmaster, start the server again."""
    await stage.soon()
    kill_server(stage.postgres)
    await stage.soon(0.5)
    await asyncio.to_thread(restart_server, stage.postgres)


async def restart_postgres(stage: Stage) -> None:
    """Stop the server in order (a fast shutdown), start it again."""
    await stage.soon()
    await asyncio.to_thread(stage.postgres.stop)
    await asyncio.to_thread(restart_server, stage.postgres)


async def stop_postgres(stage: Stage) -> None:
    """SIGSTOP the server and all of its backends for a while."""
    await stage.soon()
    pids = server_pids(stage.postgres)
    signal_all(pids, signal.SIGSTOP)
    await asyncio.sleep(stage.rng.uniform(0.3, 2.0))
    signal_all(pids, signal.SIGCONT)


async def step_clock(stage: Stage) -> None:
    """The wall clock of one process jumps, and later back."""
    await stage.soon()
    wheel = stage.wheel(stage.rng.choice(PROCESSES))
    steered.step_clock(wheel, stage.rng.choice(_STEPS_S))
    await asyncio.sleep(stage.rng.uniform(0.5, 2.0))
    steered.step_clock(wheel, 0)


async def kill_workers(stage: Stage) -> None:
    """SIGKILL the worker with the SDK and the one under `outrider run`."""
    await stage.soon()
    for worker in stage.workers:
        worker.kill()


async def kill_short_lived(stage: Stage) -> None:
    """A program dies between opening its segment and locking it."""
    environment = {**stage.short_lived.environment, "OUTRIDER_FAILPOINTS": "open/flock=kill"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import outrider; outrider.init(service='short', worker='short');"
        "outrider.get_logger('x').info('never numbered')",
        env=environment,
    )  # fmt: skip
    if await process.wait() == -signal.SIGKILL:
        stage.hit.add("open/flock")


async def apply_rules(stage: Stage) -> None:
    """Apply a changed rule set while lines flow."""
    stage.applied += 1
    path = stage.fleet.rules / "changing.toml"
    path.write_text(
        '[[rule]]\nname = "changing"\nkind = "count"\nfilter = "service:chaos severity>=error"\n'
        f'window = "1h"\nabove = {1_000_000 + stage.applied}\npriority = "info"\n'
    )
    # Server or collector may still start after the round before: who is told so tries again.
    deadline = time.monotonic() + _DIES_WITHIN_S
    while True:
        try:
            await asyncio.to_thread(stage.fleet.run, "rules", "apply", str(stage.fleet.rules))
        except SystemExit as refused:
            starts = any(reason in str(refused) for reason in _STARTS)
            if not starts or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)
        else:
            return


def failpoint(process: str, name: str, most: int = 1) -> Fault:
    """Have a running ``process`` die at a named failpoint, then start it again."""

    async def fault(stage: Stage) -> None:
        names = COLLECTORS if process == "collector" else (process,)
        for each in names:
            steered.die_at(stage.wheel(each), name, stage.rng.randint(1, most))
        deadline = time.monotonic() + _DIES_WITHIN_S
        while all(stage.fleet.running(each) for each in names) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for each in names:
            steered.die_at(stage.wheel(each), "", 0)
            if not stage.fleet.running(each):
                stage.hit.add(name)
                stage.start(each)

    return _named(fault, f"failpoint {name}")


async def die_at_the_socket(stage: Stage) -> None:
    """A collector dies when it may write a message; never twice over one: nobody could tell it."""
    deadline = time.monotonic() + _REPEATED_WITHIN_S
    while await asyncio.to_thread(_is_in_doubt, stage) and time.monotonic() < deadline:
        await asyncio.sleep(0.2)
    await failpoint("collector", "leave recorded/socket")(stage)


def _is_in_doubt(stage: Stage) -> bool:
    """Whether a message may have left and waits for its answer or its repeat."""
    with contextlib.suppress(psycopg.OperationalError), stage.connect() as connection:
        return (
            connection.execute(
                "select from notification_attempts a join notifications n on n.id = a.notification"
                " where n.fate in ('waiting', 'claimed') and a.may_have_left"
                " and coalesce(a.outcome, 'unknown') = 'unknown' limit 1"
            ).fetchone()
            is not None
        )
    return True


def _named(fault: Fault, name: str) -> Fault:
    fault.__name__ = name
    return fault


FAULTS: tuple[Fault, ...] = (
    kill_agent,
    stop_agent,
    terminate_agent,
    *(make(name) for make in (kill_collector, stop_collector, terminate_collector)
      for name in COLLECTORS),
    kill_both_collectors,
    stop_evaluator,
    kill_backend,
    kill_postmaster,
    restart_postgres,
    stop_postgres,
    copies.restore_backup,
    copies.clone_agent,
    copies.fill_state_disk,
    copies.fill_inbox,
    wires.lose_commit_answer,
    wires.blackhole_database,
    wires.cut_database,
    wires.delay_database,
    wires.blackhole_agent,
    wires.cut_agent,
    wires.delay_agent,
    wires.lose_acknowledgements,
    step_clock,
    apply_rules,
    kill_workers,
    kill_short_lived,
    failpoint("collector", "claim/insert", 9),
    failpoint("collector", "COMMIT sent/answer", 9),
    failpoint("collector", "COMMIT/ack", 9),
    failpoint("collector", "attempt recorded/socket"),
    die_at_the_socket,
    failpoint("agent", "ack/cache", 3),
    failpoint("agent", "LOCK_EX/move"),
    failpoint("agent", "move/unlink"),
)  # fmt: skip


def name_of(fault: Fault) -> str:
    """What it is called in the table."""
    return str(fault.__name__).replace("_", " ")
