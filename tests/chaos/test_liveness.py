"""Faults against the state they are shown as, and the seconds until then, on real processes.

`make chaos` prints the table. What needs root or a kernel's help that is not there is left out, and
said so.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.chaos.cable import cable, can_pull
from tests.chaos.memory import little_memory
from tests.fleet import Fleet, fleet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUIET_S = 40
"""So long nothing may change where nothing is wrong: twice what silence takes."""

_WORKER = """
import sys, time, outrider
outrider.init(service="chaos", worker=sys.argv[1])
log, done = outrider.get_logger("chaos"), 0
while True:
    done += 1
    log.info("working")
    outrider.progress(done=done, every_s=2)
    if len(sys.argv) > 2 and sys.stdin.readline():
        while True: time.sleep(1)
    time.sleep(0.2)
"""
_EATS = "x = []\nwhile True: x.append(bytearray(1 << 20))"
_SET_CLOCK = """
import pathlib, sys, time
real, step = time.time_ns, pathlib.Path(sys.argv[1])
def stepped():
    return real() + int(step.read_text() or 0) * 1_000_000_000
time.time_ns, time.time = stepped, lambda: stepped() / 1e9
from outrider.command import main
sys.exit(main(["agent", "run"]))
"""


@dataclass(slots=True)
class Bench:
    """A fleet, its workers, and the table."""

    fleet: Fleet
    connection: psycopg.Connection
    workers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    table: list[tuple[str, str, str]] = field(default_factory=list)

    def worker(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a worker with the SDK and wait until it is up."""
        return self.run(name, [sys.executable, "-c", _WORKER, name, *arguments])

    def attended(self, name: str, command: str) -> subprocess.Popen[bytes]:
        """Start a shell command under `outrider run` and wait until it is up."""
        wrapper = [sys.executable, "-m", "outrider.command", "run", "--quiet", "--service", "chaos"]
        return self.run(name, [*wrapper, "--worker", name, "--", "sh", "-c", command])

    def run(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a process that is a worker of this name."""
        started = subprocess.Popen(
            command, env=self.fleet.environment("agent"), stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        self.workers[name] = started
        self.until(lambda: self.state(name)[0] == "up", 30)
        return started

    def state(self, name: str) -> tuple[str, str]:
        """State and reason of a worker, or of the agent."""
        row = self.connection.execute(
            "select state, reason from system_health where worker = %(name)s"
            " or component_kind = %(name)s",
            {"name": name},
        ).fetchone()
        return row or ("", "")

    def until(self, condition: Callable[[], bool], within_s: float) -> float:
        """Wait for a condition; return after how many seconds it held."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < within_s, self.connection.execute(
                "select component, state, reason from system_health"
            ).fetchall()
            time.sleep(0.05)
        return time.monotonic() - began

    def shown(self, fault: str, name: str, state: str, words: str, within_s: float) -> None:
        """Wait for the state of who suffers, and enter it into the table."""
        seconds = self.until(lambda: self.state(name)[0] == state, within_s)
        reason = self.state(name)[1]
        self.table.append((fault, f"{state}: {reason}", f"{seconds:.1f} s"))
        assert words in reason

    def nothing_changes(self, fault: str, seconds: float) -> None:
        """Enter that all stays as it is."""
        before = self._changes()
        time.sleep(seconds)
        assert self._changes() == before
        self.table.append((fault, "as before", f"in {seconds:.0f} s"))

    def _changes(self) -> list[tuple[object, ...]]:
        return self.connection.execute(
            "select component, to_state, reason from system_health_history order by id"
        ).fetchall()

    def end(self, name: str) -> None:
        """Kill a worker and wait until its end is known."""
        _kill(self.workers.pop(name))
        self.until(lambda: self.state(name)[0] in {"dead", "retired"}, 30)


@pytest.fixture
def bench(postgres_url: str) -> Iterator[Bench]:
    """A collector that watches long enough to judge, and an agent."""
    with fleet(postgres_url, database=f"liveness_{os.getpid()}") as made, ExitStack() as stack:
        file = made.root / "collector.toml"
        file.write_text(file.read_text() + 'reconnect_grace = "10s"\n')
        made.start_collector("collector")
        made.wait_for_port("collector")
        made.start_agent()
        connection = stack.enter_context(psycopg.connect(made.url, autocommit=True))
        ready = Bench(made, connection)
        ready.until(lambda: ready.state("agent")[0] == "up", 60)
        yield ready
        for process in ready.workers.values():
            _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.skipif("OUTRIDER_CHAOS_ROUNDS" not in os.environ, reason="minutes: make chaos runs it")
def test_faults_are_shown(bench: Bench) -> None:
    """Each fault is shown as what it is, soon; what is no fault is shown as none."""
    try:
        _of_workers(bench)
        _of_agents(bench)
    finally:
        widths = [max((len(row[n]) for row in bench.table), default=0) for n in range(3)]
        print("\n" + "\n".join("  ".join(map(str.ljust, row, widths)) for row in bench.table))


def _of_workers(bench: Bench) -> None:
    bench.worker("w-killed").send_signal(signal.SIGKILL)
    bench.shown("kill -9 of a worker", "w-killed", "dead", "without a word", 15)

    bench.attended("w-attended", "exec sleep 600")
    (pid,) = bench.connection.execute(
        "select gauges ->> 'pid' from workers where worker = 'w-attended'"
    ).fetchone() or ("0",)
    os.kill(int(pid), signal.SIGKILL)
    bench.shown("kill -9 under outrider run", "w-attended", "dead", "SIGKILL", 15)

    bench.attended("w-exits", "sleep 3; exit 7")
    bench.shown("exit 7 after 3 s under outrider run", "w-exits", "dead", "exit code 7", 20)

    bench.worker("w-stopped").send_signal(signal.SIGSTOP)
    bench.shown("SIGSTOP of a worker", "w-stopped", "degraded", "a signal", 15)
    bench.end("w-stopped")

    stuck = bench.worker("w-stuck", "asks")
    assert stuck.stdin is not None
    stuck.stdin.write(b"stand still\n")
    stuck.stdin.flush()
    bench.shown("a stuck loop, progress every 2 s", "w-stuck", "degraded", "no progress", 20)
    bench.end("w-stuck")

    with little_memory() as join:
        if join is None:
            bench.table.append(("OOM", "not tried: no control group can be made", ""))
            return
        eats = f'{join}; read go; exec {sys.executable} -c "{_EATS}"'
        # The wrapper reads nothing: what it inherits is the child's.
        greedy = bench.attended("w-greedy", eats)
        assert greedy.stdin is not None
        # In which group it is, is looked at every ten seconds.
        time.sleep(11)
        greedy.stdin.write(b"go\n")
        greedy.stdin.flush()
        bench.shown("OOM under outrider run", "w-greedy", "dead", "out of memory", 30)


def _of_agents(bench: Bench) -> None:
    bench.worker("w-bystander")
    step = bench.fleet.root / "clock"
    step.write_text("0")
    bench.fleet.stop("agent")
    bench.until(lambda: bench.state("agent")[0] == "retired", 20)
    _start_agent(bench, sys.executable, "-c", _SET_CLOCK, str(step))
    for days in (1, -1):
        step.write_text(str(days * 86_400))
        bench.nothing_changes(f"clock of the host {days:+} day", QUIET_S)
    step.write_text("0")

    bench.fleet.stop("collector")
    bench.fleet.start_collector("collector")
    bench.nothing_changes("restart of the collector", QUIET_S)

    bench.fleet.kill("collector")
    bench.fleet.start_collector("collector")
    bench.nothing_changes("kill -9 of the collector, started again", QUIET_S)

    bench.fleet.kill("agent")
    bench.shown("kill -9 of the agent", "agent", "silent", "no heartbeat", 30)
    if not can_pull():
        bench.table.append(("cable pulled", "not tried: needs root and ip", ""))
        return
    with cable(bench.fleet.ports["collector"]) as link:
        _start_agent(bench, *link.command, sys.executable, "-m", "outrider.command", "agent", "run")
        # Later than any heartbeat, sooner than the next: the worst moment is right after one.
        time.sleep(3)
        link.pull()
        bench.shown("cable pulled", "agent", "silent", "no heartbeat", 40)
        assert bench.state("w-bystander")[0] == "silent"
        link.plug_in()
        bench.shown("cable plugged in again", "agent", "up", "", 90)
        bench.fleet.kill("agent")


def _start_agent(bench: Bench, *command: str) -> None:
    bench.fleet.start("agent", command)
    bench.until(lambda: bench.state("agent")[0] == "up", 60)
    bench.until(lambda: bench.state("w-bystander")[0] == "up", 60)
