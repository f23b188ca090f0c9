"""No false states, whatever happens to collectors, connections and clocks; and no missed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.collector.service.simulated_liveness import DAY_US, World

if TYPE_CHECKING:
    from tests.collector.service.simulated_liveness import Change, Collector, Host

SEEDS = 8


def disturbed(seed: int, hours: float) -> World:
    """A world of healthy hosts in which all else goes wrong, again and again."""
    world = World(seed)
    world.run(120)
    for _ in range(int(hours * 60)):
        world.rng.choice((_restart, _kill, _move, _set_clock, _fall_behind))(world)
        world.run(world.rng.uniform(5, 115))
    return world


def _restart(world: World) -> None:
    """A collector stops in order and is back after a while, as long as an outage lasts."""
    _end(world, world.rng.choice(world.collectors), in_order=True)


def _kill(world: World) -> None:
    """A collector, or both at once, dies."""
    for collector in world.rng.sample(world.collectors, world.rng.choice((1, 2))):
        _end(world, collector, in_order=False)


def _end(world: World, collector: Collector, *, in_order: bool) -> None:
    if not collector.runs:
        return
    collector.end(in_order=in_order)
    world.after(world.rng.choice((1, 30, 600)), collector.restart)
    if in_order or world.rng.random() < 0.5:
        # The end is seen at once, unless the whole machine went.
        for host in world.hosts:
            if host.collector is collector:
                host.collector = None
                world.after(world.rng.uniform(0.2, 5), world.beating(host))


def _move(world: World) -> None:
    """A connection breaks; its agent is back within seconds, here or there."""
    host = world.rng.choice(world.hosts)
    host.leave(broke=True)
    world.after(world.rng.uniform(0.2, 3), world.beating(host))


def _set_clock(world: World) -> None:
    """Somebody sets a host's clock by a day."""
    host = world.rng.choice(world.hosts)
    host.step_us += world.rng.choice((DAY_US, -DAY_US))


def _fall_behind(world: World) -> None:
    """What a worker wrote waits for an hour."""
    host = world.rng.choice(world.hosts)
    if host.backlog_since_us is None:
        host.backlog_since_us = world.now_us

        def caught_up() -> None:
            host.backlog_since_us = None

        world.after(3_600, caught_up)


def false_states(world: World) -> list[Change]:
    """All but what is true: they are up, and lag while what they wrote waits."""
    behind = {str(host.number) for host in world.hosts} | {
        f"s/w0@h{host.number}" for host in world.hosts
    }
    return [
        change
        for change in world.store.history
        if change.state != "up" and not (change.state == "lagging" and change.component in behind)
    ]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_false_states(seed: int) -> None:
    """Half an hour of restarts, moves, clocks set by a day and backlog: nobody is called silent."""
    world = disturbed(seed, 0.5)

    assert false_states(world) == []
    assert len(world.store.states) == 4 * len(world.hosts)


def _first(world: World, since: int, component: str) -> tuple[str, float]:
    """The first state of a component after a history's length, and the seconds until then."""
    change = next(c for c in world.store.history[since:] if c.component == component)
    return change.state, (change.at_us - world.now_us) / 1e6


@pytest.mark.parametrize("seed", range(5))
def test_no_missed_states(seed: int) -> None:
    """A dead worker, a stuck one, a killed agent and a pulled cable are seen in time."""
    world = disturbed(seed, 0.2)
    world.run(900)
    killed, stuck, gone, cut = world.hosts
    fates: list[tuple[Host, str, str, float]] = [
        (killed, "s/w0@h0", "dead", 13), (stuck, "s/w1@h1", "degraded", 43),
        (gone, "2", "silent", 9), (cut, "s/w2@h3", "silent", 20),
    ]  # fmt: skip
    for host in world.hosts:
        host.backlog_since_us = None
    world.run(30)
    for host, component, state, within_s in fates:
        began_us, since = world.now_us, len(world.store.history)
        if host is killed:
            host.killed.add(0)
        elif host is stuck:
            host.stuck.add(1)
        else:
            host.runs = False
        host.work()
        if host is gone:
            host.leave(broke=True)
        world.run(within_s + 1)
        seen = [c for c in world.store.history[since:] if c.component == component]
        assert [c.state for c in seen] == [state], (component, world.store.history[since:])
        assert (seen[0].at_us - began_us) / 1e6 <= within_s
