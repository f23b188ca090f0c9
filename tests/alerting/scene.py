"""A small stage for the engine: rules, a clock in seconds, sources, and what was told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_alerting import rule_files
from outrider_alerting.components import ComponentState
from outrider_alerting.engine import StepInputs, step
from outrider_alerting.frozen import Frozen
from outrider_alerting.hits import Hit
from outrider_alerting.program import Program
from outrider_alerting.state import EngineState
from outrider_alerting.watches import watches
from outrider_alerting.watermarks import Source, assess
from tests.alerting.recorded_quorum import RecordedQuorum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outrider_alerting.engine import StepResult
    from outrider_alerting.episodes import Transition
    from outrider_alerting.gaps import GapSeen
    from outrider_alerting.rules import RuleSet
    from outrider_alerting.watermarks import Quorum

S = 1_000_000
T0 = 800_000_400
"""Second 0 of every scene; a multiple of 600, so that coarse buckets begin there too."""

COUNT = """
[[rule]]
name = "errors"
kind = "count"
filter = "severity>=error"
window = "10s"
above = 3
"""


def rules(text: str) -> RuleSet:
    """Read one file of rules."""
    return rule_files.read([("rules.toml", text)])


def source(
    complete: float | None, seen: float, *, service: str = "pay", worker: str = "w1", agent: int = 1
) -> Source:
    """A source that is complete up to a second of the scene and was heard from at another."""
    return Source(
        agent=agent,
        service=service,
        worker=worker,
        host=f"h{agent}",
        complete_us=None if complete is None else int((T0 + complete) * S),
        seen_us=int((T0 + seen) * S),
    )


class Scene:
    """Steps one engine; every step goes through JSON when ``restarts`` is set."""

    def __init__(
        self, text: str = COUNT, *, restarts: bool = False, workers: Sequence[str] = ("w1",)
    ) -> None:
        self.workers = workers
        self.rule_set = rules(text)
        self.version = 1
        self.frozen: dict[str, Frozen] = {}
        self.programs: dict[int, Program] = {}
        self.state = EngineState()
        self.restarts = restarts
        self.now = 0.0
        self.transitions: list[Transition] = []
        self.steps: list[tuple[StepInputs, int, Quorum, int]] = []
        self.results: list[StepResult] = []

    def apply_rules(self, text: str) -> None:
        """Make another rule set active from the next step on; nothing of it is frozen."""
        self.rule_set = rules(text)
        self.frozen = {}
        self.version += 1

    def freeze(self, *names: str) -> None:
        """Freeze rules of the set from the next step on."""
        why = Frozen(why="it took 50 % of the time", since_us=int((T0 + self.now) * S))
        self.frozen = dict.fromkeys(names, why) | self.frozen
        self.version += 1

    def hit(
        self,
        at: float,
        n: int = 1,
        key: Sequence[str] = (),
        *,
        rule: str = "",
        first: int = 0,
        watch: int = 0,
        numbers: tuple[float, float, float, float] | None = None,
    ) -> Hit:
        """A hit of a rule (by default the first) at a second of the scene."""
        chosen = self.rule_set.rule(rule) if rule else self.rule_set.rules[0]
        assert chosen is not None
        return Hit(
            hits_key=watches(chosen)[watch].key,
            numbers=numbers,
            key=tuple(key),
            bucket_us=(T0 + int(at)) * S,
            n=n,
            names=tuple((1, first + i) for i in range(min(n, 10))),
        )

    def step(
        self,
        now: float,
        *hits: Hit,
        sources: Sequence[Source] | None = None,
        health: Sequence[ComponentState] = (),
        gaps: Sequence[GapSeen] = (),
    ) -> list[Transition]:
        """Take a step; by default each worker is complete up to now."""
        self.now = now
        now_us = int((T0 + now) * S)
        known = [source(now, now, worker=worker) for worker in self.workers]
        known = known if sources is None else list(sources)
        quorum = assess(known, self.state.general.marks, now_us=now_us)
        inputs = StepInputs(hits=tuple(hits), health=tuple(health), gaps=tuple(gaps))
        return self.feed(inputs, now_us, quorum)

    def feed(self, inputs: StepInputs, now_us: int, quorum: Quorum) -> list[Transition]:
        """Take a step from its raw inputs."""
        program = Program(self.rule_set, self.version, self.frozen)
        self.programs[self.version] = program
        result = step(self.state, inputs, now_us=now_us, program=program, quorum=quorum)
        self.steps.append((inputs, now_us, RecordedQuorum(result.record), self.version))
        self.results.append(result)
        self.state.apply(result.changed, result.general)
        if self.restarts:
            self.restart()
        self.transitions.extend(result.transitions)
        return list(result.transitions)

    def restart(self) -> None:
        """Forget all memory and read the stored state again."""
        rows = [(rule, key, state.encode()) for (rule, key), state in self.state.rules.items()]
        general = self.results[-1].general if self.results else b""
        self.state = EngineState.load(general, rows)

    def run(self, start: float, end: float, *, every: float = 1.0) -> list[Transition]:
        """Take steps without input from ``start`` to before ``end``."""
        told: list[Transition] = []
        at = start
        while at < end:
            told.extend(self.step(at))
            at += every
        return told

    def told(self) -> list[tuple[str, str, float]]:
        """What was told: (from, to, second of the scene)."""
        return [(t.from_state, t.to_state, t.at_us / S - T0) for t in self.transitions]


def component(
    state: str, since: float, *, worker: str = "w1", service: str = "pay", reason: str = ""
) -> ComponentState:
    """A worker's state."""
    return ComponentState(
        component_kind="worker",
        component=f"{service}/{worker}@h1",
        service=service,
        worker=worker,
        host="h1",
        state=state,
        since_us=int((T0 + since) * S),
        reason=reason,
    )
