"""Hits: what of a batch matched which rule, counted in the path of the records themselves.

A hit says how many records of one batch matched one filter, for one combination of values of ``by``
and one second. It is stored by the transaction that stores the records, so what raises an alert is
committed with it. Rules with the same filter and ``by`` share their hits.

The second is that of the event time. Where that is absurd, the observed time is taken and the hit
says so: later than a minute after the record was read, or before ``believable_from_us``, the time
up to which the stream was complete before this batch. Where that is not known, as in the first
batches of a session, any past is believed: a backlog that counted as happening now would raise
alerts for errors that never were within one window.

Cost is what this module is about: it sees every record. A filter is asked only if the batch has
what it needs (:mod:`.needs`), and a key is made only for records that match. What each filter took
can be learned (:class:`Costs`); rules that are frozen for it are not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider.filter import attribute_path
from outrider.instants import from_unix_us
from outrider_alerting.durations import MINUTE_US, SECOND_US
from outrider_alerting.hits import MAX_KEYS, MAX_NAMES, Hit
from outrider_alerting.key_values import numbers_of, reader, summed
from outrider_alerting.needs import needs_of, words_of
from outrider_alerting.watches import watches

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from outrider.columns import Columns
    from outrider_alerting.episodes import Key
    from outrider_alerting.needs import Needs
    from outrider_alerting.rules import RuleSet
    from outrider_alerting.watches import Watch

EARLIEST_US: Final = from_unix_us(0)
"""1970: an earlier time is no time of a log line."""

WORDS_PAY_FROM: Final = 24
"""From so many word-seeking filters on, the words of a batch are cut out of it once for all."""

FEW: Final = 8
"""At most one record in so many is few."""


class Costs:
    """What the watches took of one batch, by hits key: seconds of ``clock``, and what matched."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.taken: dict[bytes, tuple[float, int]] = {}


class HitCounter:
    """Counts the hits of one rule set, batch after batch. Holds no state between batches."""

    def __init__(self, rule_set: RuleSet, frozen: Container[str] = ()) -> None:
        """Prepare; ``frozen`` are names of rules that are not counted."""
        found: dict[bytes, _Watch] = {}
        for rule in rule_set.rules:
            for watch in watches(rule) if rule.name not in frozen else ():
                if watch.key not in found:
                    found[watch.key] = _Watch(watch)
        # One comparison ends the search: those that need the highest severity come last.
        ordered = sorted(found.values(), key=lambda watch: watch.needs.severity)
        anywhere = [watch for watch in ordered if watch.needs.services is None]
        self._anywhere = _Group(anywhere)
        services = {name for watch in ordered for name in watch.needs.services or ()}
        self._of_service = {
            name: _Group(
                [w for w in ordered if w.needs.services is None or name in w.needs.services]
            )
            for name in services
        }

    def count(
        self,
        columns: Columns,
        clock_offset_us: int = 0,
        *,
        believable_from_us: int | None = None,
        costs: Costs | None = None,
    ) -> list[Hit]:
        """Return the hits of a batch.

        ``clock_offset_us`` is added to event times (0: the agent has corrected them). ``costs``
        learns what each watch took that was asked.
        """
        if not columns.n:
            return []
        hits: list[Hit] = []
        clock: _Clock | None = None
        for watch in self._of_service.get(columns.service, self._anywhere).candidates(columns):
            began = costs.clock() if costs else 0.0
            rows = watch.filter.match(columns)
            if rows:
                clock = clock or _Clock(columns, clock_offset_us, believable_from_us)
                hits.extend(watch.hits(columns, rows, clock))
            if costs:
                costs.taken[watch.hits_key] = (costs.clock() - began, len(rows))
        return hits


class _Group:
    """The watches that a batch of one service is held against."""

    __slots__ = ("_seeks_words", "_watches")

    def __init__(self, watches: list[_Watch]) -> None:
        self._watches = watches
        self._seeks_words = sum(bool(watch.needs.words) for watch in watches) >= WORDS_PAY_FROM

    def candidates(self, columns: Columns) -> Iterator[_Watch]:
        """Yield the watches whose needs the batch can meet."""
        highest = max(columns.severity)
        events, error_codes = columns.event.values, columns.error_code.values
        words = _BatchWords(columns)
        for watch in self._watches:
            needs = watch.needs
            if needs.severity > highest:
                return
            if needs.events is not None and needs.events.isdisjoint(events):
                continue
            if needs.error_codes is not None and needs.error_codes.isdisjoint(error_codes):
                continue
            if needs.words and self._seeks_words and not words.meet(needs):
                continue
            yield watch


class _BatchWords:
    """The words of a batch's records of at least some severity, cut out once for all watches."""

    __slots__ = ("_columns", "_escapes", "_words")

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._escapes: bool | None = None
        self._words: dict[int, set[bytes]] = {}

    def meet(self, needs: Needs) -> bool:
        """Whether the records that are severe enough have all words that are needed."""
        words = self._words.get(needs.severity)
        if words is None:
            words = self._words[needs.severity] = self._cut(needs.severity)
        return needs.words <= words or (needs.plain_attributes and self._has_escapes())

    def _cut(self, least: int) -> set[bytes]:
        severity = self._columns.severity
        severe = [row for row, number in enumerate(severity) if number >= least] if least else []
        # Where most are severe enough, the column as a whole is quicker cut than its values.
        few = bool(severe) and len(severe) * FEW <= len(severity)
        return words_of(self._columns, severe if few else None)

    def _has_escapes(self) -> bool:
        if self._escapes is None:
            self._escapes = b"\\u" in self._columns.attributes_raw
        return self._escapes


class _Clock:
    """Gives each record its second."""

    __slots__ = ("_columns", "_from_us", "_offset_us")

    def __init__(self, columns: Columns, offset_us: int, from_us: int | None) -> None:
        self._columns = columns
        self._offset_us = offset_us
        self._from_us = EARLIEST_US if from_us is None else from_us - MINUTE_US

    def second(self, row: int) -> tuple[int, bool]:
        """Return the start of the record's second, and whether it is that of the observed time."""
        at, observed = self._columns.ts_us[row] + self._offset_us, self._columns.observed_us[row]
        earliest = min(observed - MINUTE_US, self._from_us)
        replaced = not earliest <= at <= observed + MINUTE_US
        if replaced:
            at = observed
        return at - at % SECOND_US, replaced


class _Watch:
    """One filter with one ``by``."""

    __slots__ = ("_by", "_number", "filter", "hits_key", "needs")

    def __init__(self, watch: Watch) -> None:
        self.hits_key = watch.key
        self.filter = watch.filter
        self.needs = needs_of(watch.filter.node)
        self._by = [reader(name) for name in watch.by]
        self._number = None if watch.number is None else attribute_path(watch.number)

    def hits(self, columns: Columns, rows: list[int], clock: _Clock) -> list[Hit]:
        """Group the matching rows by key and second."""
        numbers: dict[int, float] = {}
        if self._number is not None:
            numbers = numbers_of(columns, rows, self._number)
            rows = [row for row in rows if row in numbers]
        keys = self._keys(columns, rows)
        groups: dict[tuple[Key | None, int, bool], list[int]] = {}
        known: set[Key] = set()
        for row, key in zip(rows, keys, strict=True):
            second, replaced = clock.second(row)
            filed: Key | None = key
            if key not in known:
                if len(known) < MAX_KEYS:
                    known.add(key)
                else:
                    filed = None
            if filed is None:
                # All overflow of a batch is one hit, under the second of its first record.
                second, replaced = next(
                    ((at, was) for (k, at, was) in groups if k is None), (second, replaced)
                )
            groups.setdefault((filed, second, replaced), []).append(row)
        return [
            Hit(
                hits_key=self.hits_key,
                key=key or (),
                overflow=key is None,
                bucket_us=second,
                n=len(members),
                time_replaced=replaced,
                names=tuple(
                    (columns.stream, columns.stream_offset[row]) for row in members[:MAX_NAMES]
                ),
                numbers=summed(columns, members, numbers) if numbers else None,
            )
            for (key, second, replaced), members in groups.items()
        ]

    def _keys(self, columns: Columns, rows: list[int]) -> list[Key]:
        if not self._by:
            return [()] * len(rows)
        read = [read_values(columns, rows) for read_values in self._by]
        return list(zip(*read, strict=True))
