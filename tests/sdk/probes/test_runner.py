"""Probes at work: threads that block, a loop that does not."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import replace
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

from outrider import severity
from outrider.probes.look import look
from outrider.probes.reach import ReachError
from outrider.probes.result import Result
from outrider.probes.runner import Runner
from outrider.probes.spec import MAX_THREADS, Kind, Spec
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from outrider.probes.deadline import Deadline

LIMIT_S = 30.0


def spec(body: Callable[[Deadline], Result], name: str = "shop", **fields: Any) -> Spec[None]:
    """A probe that looks by calling ``body``."""
    kind: Kind[None] = Kind("test", lambda _keys, _networks: None, lambda _, left: body(left))
    given: dict[str, Any] = {"every_s": 0.02, "timeout_s": 0.01, "rise": 1, "fall": 1}
    return Spec(name, kind, target=None, **(given | fields))


class Told:
    """What a runner told, and a wait for more."""

    def __init__(self) -> None:
        self.records: list[tuple[str, int, str, dict[str, Any]]] = []
        self.hurried = 0

    def tell(self, event: str, level: int, message: str, attributes: dict[str, Any]) -> None:
        """Take a record."""
        self.records.append((event, level, message, attributes))

    def hurry(self) -> None:
        """Count."""
        self.hurried += 1


async def run(runner: Runner, holds: Callable[[], bool]) -> None:
    """Run until something holds."""
    task = asyncio.create_task(runner.run())
    try:
        await eventually(holds)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_changes_are_told_and_hurried() -> None:
    """That it is well from the start is no news; that it is not any more, and again, is."""
    well = Result("up", "fine")
    results = chain([well, Result("down", "HTTP 500")], repeat(well))
    told = Told()
    runner = Runner([spec(lambda _: next(results))], "web-1", tell=told.tell, hurry=told.hurry)
    await run(runner, lambda: len(told.records) >= 2)

    down, up = told.records[:2]
    assert down == (
        "health.changed", severity.WARN, "shop is down, was up: HTTP 500",
        {
            "component_kind": "probe", "component": "shop@web-1",
            "from": "up", "to": "down", "reason": "HTTP 500",
        },
    )  # fmt: skip
    assert up[:3] == ("health.changed", severity.INFO, "shop is up, was down: fine")
    assert told.hurried == 3


async def test_a_minute_is_a_sample() -> None:
    """One record for each component, at a severity that pages do not show by themselves."""
    now_s = 0.0
    told = Told()
    probe = spec(lambda _: Result("up", "", 5.0), every_s=30.0, timeout_s=5.0)
    runner = Runner([probe], "web-1", tell=told.tell, hurry=told.hurry, clock=lambda: now_s)
    task = asyncio.create_task(runner.run())
    await asyncio.sleep(0)
    now_s = 10.0
    runner.configure([probe])  # wakes it, and keeps what is known
    await eventually(lambda: runner.look_up()[0].verdict.state == "up")
    now_s = 60.0
    runner.configure([probe])
    await eventually(lambda: bool(told.records))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task

    event, level, _, attributes = told.records[0]
    assert (event, level) == ("health.sampled", severity.DEBUG)
    assert attributes["component"] == "shop@web-1"
    assert attributes["n"] >= 1 and attributes["failed"] == 0 and attributes["p50_ms"] == 5.0


async def test_probes_that_hang_hold_a_few_threads_and_the_others_expire() -> None:
    """However many hang: no more than so many threads, nothing overlaps, the loop goes on."""
    free = threading.Event()
    most = 0
    lock = threading.Lock()
    count = 0

    def hang(_: Deadline) -> Result:
        nonlocal count, most
        with lock:
            count += 1
            most = max(most, count)
        free.wait(LIMIT_S)
        with lock:
            count -= 1
        return Result("up", "")

    told = Told()
    specs = [spec(hang, f"p{i}") for i in range(3 * MAX_THREADS)]
    runner = Runner(specs, "web-1", tell=told.tell, hurry=told.hurry)
    try:
        await run(
            runner,
            lambda: (
                len(told.records) >= len(specs)
                and {r.verdict.state for r in runner.look_up()} == {"expired"}
                and runner.held == count == MAX_THREADS
            ),
        )
        assert most == MAX_THREADS
    finally:
        free.set()
    assert sorted((record[3]["component"], record[3]["to"]) for record in told.records) == sorted(
        (f"{probe.name}@web-1", "expired") for probe in specs
    )


async def test_what_is_configured_anew_is_looked_at_at_once() -> None:
    """A probe that is added while the runner waits."""
    told = Told()
    slow = spec(lambda _: Result("up", ""), "slow", every_s=3_600.0, timeout_s=1.0)
    runner = Runner([slow], "web-1", tell=told.tell, hurry=told.hurry)
    task = asyncio.create_task(runner.run())
    await asyncio.sleep(0)
    runner.configure([slow, spec(lambda _: Result("up", "new"), "quick")])
    found: dict[str, str] = {}

    def quick_is_up() -> bool:
        found.update({r.key.name: r.verdict.state for r in runner.look_up()})
        return found.get("quick") == "up"

    await eventually(quick_is_up)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_whatever_goes_wrong_is_a_result() -> None:
    """Not reached, not in time, not allowed, a mistake of the probe's own."""

    def fail(error: Exception) -> Result:
        def body(_: Deadline) -> Result:
            raise error

        return look(replace(spec(body), timeout_s=2.0))

    found = [
        (result.state, result.reason)
        for result in map(
            fail,
            [
                ReachError("connect", "refused"),
                ReachError("blocked", "not a public address"),
                TimeoutError(),
                ValueError("oh"),
            ],
        )
    ]
    assert found == [
        ("down", "refused"),
        ("unknown", "not a public address"),
        ("down", "no answer within 2 s"),
        ("unknown", "a bug in the probe: ValueError: oh"),
    ]
