"""The rules as a collector counts by them: one record never silences them for the others."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from outrider_alerting import budgets
from outrider_alerting.counting import HitCounter
from outrider_alerting.frozen import Frozen
from outrider_alerting.watches import watches
from outrider_collector.ingest import rulebook
from outrider_collector.ingest.figures import Figures
from outrider_collector.ingest.rulebook import TOLD_EVERY_S, ActiveRules, Clocks, RuleBook
from outrider_collector.store.blocks import cut
from tests.alerting.scene import rules
from tests.alerting.test_counting import ERRORS, batch

if TYPE_CHECKING:
    from outrider.columns import Columns
    from outrider_alerting.counting import Costs
    from outrider_alerting.hits import Hit

GUILTY = "no rule can read this"


@pytest.fixture
def fails_on_guilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting fails wherever a guilty record is among the others."""
    count = HitCounter.count

    def fails(self: HitCounter, columns: Columns, *args: Any, **keys: Any) -> list[Hit]:
        if GUILTY in columns.message:
            raise RuntimeError(GUILTY)
        return count(self, columns, *args, **keys)

    monkeypatch.setattr(HitCounter, "count", fails)


def counted(columns: Columns) -> tuple[list[int], list[int]]:
    """Offsets of the records that count, and of those that are left out."""
    left_out: list[int] = []
    active = ActiveRules(1, rules(ERRORS), lambda part, _: left_out.extend(part.stream_offset))
    return [offset for hit in active.hits(columns) for _, offset in hit.names], left_out


def test_deep_attributes_are_counted_like_others() -> None:
    """Nesting that would exhaust a recursive reader is looked into, as a filter and as a key."""
    deep: Any = "foobar"
    for _ in range(400):
        deep = {"a": deep}
    columns = batch({"attributes": {"a": "food"}}, {"attributes": {"a": deep}})
    left_out: list[Columns] = []
    text = ERRORS.replace("severity>=error", "attrs.a:foo*").replace(
        'name = "errors"', 'name = "errors"\nby = ["attrs.a"]'
    )
    every = text.replace("attrs.a:foo*", "severity>=error")

    for of_rules, keys in ((text, ["food"]), (every, ["food", ('{"a":' * 400)[:200]])):
        active = ActiveRules(1, rules(of_rules), lambda part, _: left_out.append(part))
        assert [hit.key for hit in active.hits(columns)] == [(key,) for key in keys]
    assert not left_out


@pytest.mark.usefixtures("fails_on_guilt")
def test_only_the_guilty_record_is_left_out() -> None:
    """Wherever it stands in its batch, all others count."""
    for place in range(7):
        records = [{"message": GUILTY if i == place else "fine", "at": i} for i in range(7)]

        assert counted(batch(*records)) == (
            [100 * i for i in range(7) if i != place], [100 * place],
        )  # fmt: skip


@pytest.mark.usefixtures("fails_on_guilt")
def test_a_batch_of_guilty_records_is_not_sought_through_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After the limit what fails is left out in larger parts, and what does not still counts."""
    monkeypatch.setattr(rulebook, "MOST_SOUGHT", 2)
    records = [{"message": GUILTY if i < 4 else "fine", "at": i} for i in range(8)]
    parts: list[int] = []
    active = ActiveRules(1, rules(ERRORS), lambda part, _: parts.append(part.n))

    assert len(active.hits(batch(*records))) == 4
    assert parts == [1, 1, 2]


def test_part_of_a_batch_is_counted_by_its_own_records() -> None:
    """What was derived from the whole batch says nothing of a part of it."""
    columns = batch({"attributes": {"a": 1}}, {"attributes": {"a": 2}})
    active = ActiveRules(1, rules(ERRORS.replace("severity>=error", "attrs.a>1")), lambda *_: None)
    assert [hit.names for hit in active.hits(columns)] == [((7, 100),)]

    assert active.hits(cut(columns, 0, 1)) == []
    assert [hit.names for hit in active.hits(cut(columns, 1, 2))] == [((7, 100),)]


def test_a_malformed_column_leaves_out_its_batch() -> None:
    """There is no telling where its records begin."""
    columns = batch({"message": "a"}, {"message": "b"})
    text = ERRORS.replace("severity>=error", "severity>=error /a|b/")
    left_out: list[int] = []
    active = ActiveRules(1, rules(text), lambda part, _: left_out.append(part.n))

    assert active.hits(replace(columns, message_raw=columns.message_raw[:-1])) == []
    assert left_out == [2]


@pytest.mark.usefixtures("fails_on_guilt")
def test_what_is_left_out_is_counted_and_told_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every record is in the figures; the log has one line in ten minutes."""
    told: list[dict[str, Any]] = []
    log = SimpleNamespace(error=lambda _, **fields: told.append(fields))
    monkeypatch.setattr(rulebook, "log", log)
    figures, now_s = Figures(), [50.0]
    book = RuleBook(cast("Any", None), figures, clock=lambda: now_s[0])

    for at_s in (50.0, 51.0, 50.0 + TOLD_EVERY_S):
        now_s[0] = at_s
        book.active.hits(batch({"message": "fine"}, {"message": GUILTY}))

    assert figures.counts()["uncounted"] == 3
    assert [(line["stream_offset"], line["uncounted_since_start"]) for line in told] == [
        (100, 1), (100, 3),
    ]  # fmt: skip


def test_a_costly_filter_is_overspent_and_its_neighbours_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lines of a megabyte: who takes 0.3 s of each is found, with what it took."""
    text = ERRORS + ERRORS.replace('"errors"', '"slow"').replace("severity>=error", "costly*")
    spent = _spending({"costly*": 0.3})
    columns = batch({"message": "costly " + "x" * 1_000_000})
    active = ActiveRules(1, rules(text), lambda *_: None, clocks=spent.clocks)
    monkeypatch.setattr(active._counter, "count", spent.counting(active))

    for _ in range(100):
        assert len(active.hits(columns)) == 2
        if active.overspent:
            break

    assert list(active.overspent) == ["slow"]
    assert "% of a collector's time" in active.overspent["slow"]


def test_what_all_filters_take_is_no_cost_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """While this process is stopped, the wall's clock goes on and no filter has worked."""
    spent = _spending({"severity>=error": 100.0}, cpu_s=0.001)
    active = ActiveRules(1, rules(ERRORS), lambda *_: None, clocks=spent.clocks)
    monkeypatch.setattr(active._counter, "count", spent.counting(active))

    for _ in range(50):
        active.hits(batch({"message": "a"}))

    assert not active.overspent


def test_a_frozen_rule_asks_nothing() -> None:
    """Neither of records here nor of agents, which send what is urgent at once."""
    text = ERRORS + ERRORS.replace('"errors"', '"slow"').replace("severity>=error", "costly")
    text = text.replace('name = "slow"', 'name = "slow"\nurgent = true')
    frozen = {"slow": Frozen(why="", since_us=0)}
    open_, closed = (ActiveRules(1, rules(text), lambda *_: None, frozen=f) for f in ({}, frozen))
    columns = batch({"message": "costly"})

    assert [len(active.hits(columns)) for active in (open_, closed)] == [2, 1]
    assert len(open_.urgent_filters) == len(closed.urgent_filters) + 1


class _Spending:
    """Two clocks that filters move by what they cost."""

    def __init__(self, costs: dict[str, float], cpu_s: float | None) -> None:
        self._costs = costs
        self._cpu_s = cpu_s
        self._wall = self._cpu = 0.0
        self.clocks = Clocks(lambda: self._wall, lambda: self._cpu)

    def counting(self, active: ActiveRules) -> Any:
        count = active._counter.count
        keys = {w.key: w.filter.text for r in active._rule_set.rules for w in watches(r)}

        def counts(columns: Columns, *, costs: Costs, **more: Any) -> list[Hit]:
            found = count(columns, costs=costs, **more)
            for key in costs.taken:
                cost_s = self._costs.get(keys[key], 0.0)
                costs.taken[key] = (cost_s, 1)
                self._wall += cost_s
                self._cpu += cost_s if self._cpu_s is None else self._cpu_s
            self._wall += 0.3
            return found

        return counts


def _spending(costs: dict[str, float], cpu_s: float | None = None) -> _Spending:
    return _Spending(costs, cpu_s)


def test_a_hundred_patterns_over_long_lines_are_overspent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A filter of honest cost, with the real clock of this thread; hostile ones are linear."""
    monkeypatch.setattr(budgets, "LIMIT_S", 0.05)
    many = " OR ".join(f"/{chr(97 + n % 8)}[^z]*{n}y/" for n in range(99))
    hostile = ERRORS.replace('"errors"', '"hostile"').replace("severity>=error", "/(a+)+$/")
    slow = ERRORS.replace('"errors"', '"slow"').replace("severity>=error", many)
    line = "".join(random.Random(1).choices("abcdefgh", k=200_000))
    clocks = Clocks(time.thread_time, time.thread_time)
    active = ActiveRules(1, rules(ERRORS + hostile + slow), lambda *_: None, clocks=clocks)

    for _ in range(6):
        active.hits(batch({"message": line}))

    assert list(active.overspent) == ["slow"]
