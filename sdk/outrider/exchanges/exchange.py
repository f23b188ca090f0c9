"""One exchange, looked at again and again.

A look asks what must answer, then what is announced and what time it is there, the last two only
when their interval has passed. What is kept between looks is in :class:`_Memory`. Redirects are not
followed: no client that signs its requests would.

When the exchange asks to be left alone, nothing of it is asked until then: the last state stays,
for :data:`KEEP_S`, and says so.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from outrider.exchanges import announced, skew
from outrider.exchanges.answers import AnswerError, check, parse, plain, time_us
from outrider.exchanges.answers import at as value_at
from outrider.exchanges.modes import STATES, Announcement, Mode, Own, combine
from outrider.exchanges.throttling import is_asked_to_wait, wait_s
from outrider.instants import from_us
from outrider.probes import http
from outrider.probes.deadline import Deadline
from outrider.probes.reach import ReachError
from outrider.probes.result import MAX_TEXT_BYTES, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from outrider.addresses import Network
    from outrider.exchanges.preset import Endpoint, Preset
    from outrider.probes.result import Fact

KEEP_S: Final = 900.0
"""So long a state stands that cannot be looked at again; then it is unknown."""

HURRY_S: Final = 10.0
"""While it does not answer, what is announced is asked so often: it may be closed since."""

STALE_INTERVALS: Final = 3
"""What was announced and measured counts for so many intervals when it cannot be asked again."""

_HEADERS: Final = {"Accept": "application/json", "Cache-Control": "no-cache"}
_GUARD: Final = "blocked"
_REFUSED: Final = frozenset((403, 451))


class Fetch(Protocol):
    """What :func:`outrider.probes.http.fetch` is to this module."""

    def __call__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout_s: float,
        allow_private: Sequence[Network],
        max_redirects: int,
    ) -> http.Response:
        """Ask once. Raises ReachError."""


class _Unanswered(Exception):  # noqa: N818  what happened, not a mistake
    """An endpoint did not answer as it should; the message is fit to be shown."""

    def __init__(self, reason: str, *, is_own_guard: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.is_own_guard = is_own_guard
        self.wait_s = wait_s
        """So long it asks to be left alone, seconds; 0: it does not."""


@dataclass(slots=True)
class _Memory:
    """What stays between looks; moments are of the monotonic clock, seconds."""

    result: Result | None = None
    looked_s: float = 0.0
    held_until_s: float = 0.0
    held_because: str = ""
    announcement: Announcement | None = None
    announcement_s: float = 0.0
    unreadable: str = ""
    announcement_asked_s: float = -math.inf
    skew: skew.Skew | None = None
    skew_s: float = 0.0
    skew_asked_s: float = -math.inf


class Exchange:
    """See the module's page. Looks must not overlap."""

    def __init__(
        self,
        preset: Preset,
        allow_private: Sequence[Network] = (),
        *,
        fetch: Fetch = http.fetch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = preset.name
        self._preset = preset
        self._allow_private = allow_private
        self._fetch = fetch
        self._clock = clock
        self._memory = _Memory()

    def __eq__(self, other: object) -> bool:
        """Whether the other one looks at the same; what they remember does not count."""
        if not isinstance(other, Exchange):
            return NotImplemented
        same = self._preset == other._preset
        return same and tuple(self._allow_private) == tuple(other._allow_private)

    __hash__ = None  # type: ignore[assignment]  # equal without being the same

    def look(self, deadline: Deadline) -> Result:
        """Look once, no longer than the deadline. Raises TimeoutError if that is over already."""
        memory = self._memory
        now_s = self._clock()
        if now_s < memory.held_until_s:
            return self._held(now_s)
        began_ms = deadline.took_ms()
        own, answers = self._reach(deadline)
        took_ms = deadline.took_ms() - began_ms
        if now_s < memory.held_until_s:
            return self._held(now_s)
        self._ask_announcement(deadline, now_s, is_down=own.mode is Mode.DOWN)
        if own.mode in {Mode.ONLINE, Mode.DEGRADED}:
            self._ask_time(deadline, now_s)
        memory.result, memory.looked_s = self._conclude(own, answers, took_ms), now_s
        return memory.result

    # ------------------------------------------------------------------ asking

    def _reach(self, deadline: Deadline) -> tuple[Own, list[http.Response]]:
        """Ask everything that must answer; half of the time is for that."""
        share = Deadline(deadline.left_s() / 2)
        answers: list[http.Response] = []
        failures: list[_Unanswered] = []
        for endpoint in self._preset.reach:
            try:
                answers.append(self._ask(endpoint, share)[0])
            except _Unanswered as failure:
                failures.append(failure)
                if failure.wait_s:
                    break
        if not failures:
            return Own(Mode.ONLINE), answers
        reason = str(failures[0])
        if answers:
            total = len(self._preset.reach)
            return Own(Mode.DEGRADED, f"{len(answers)} of {total} answer: {reason}"), answers
        is_guard = all(failure.is_own_guard for failure in failures)
        return Own(Mode.UNKNOWN if is_guard else Mode.DOWN, reason), answers

    def _ask_announcement(self, deadline: Deadline, now_s: float, *, is_down: bool) -> None:
        spec, memory = self._preset.announced, self._memory
        if spec is None:
            return
        every_s = min(spec.every_s, HURRY_S) if is_down else spec.every_s
        if now_s - memory.announcement_asked_s < every_s:
            return
        memory.announcement_asked_s = now_s
        try:
            response, answer = self._ask(spec.endpoint, Deadline(_left_s(deadline) / 2))
            memory.announcement = announced.read(answer, spec, response.received_us)
            memory.announcement_s, memory.unreadable = now_s, ""
        except (_Unanswered, AnswerError) as failure:
            memory.unreadable = str(failure)
            if now_s - memory.announcement_s > STALE_INTERVALS * spec.every_s:
                memory.announcement = None

    def _ask_time(self, deadline: Deadline, now_s: float) -> None:
        spec, memory = self._preset.time, self._memory
        if spec is None or now_s - memory.skew_asked_s < spec.every_s:
            return
        memory.skew_asked_s = now_s
        samples: list[skew.Sample] = []
        for _ in range(skew.SAMPLES):
            try:
                response, answer = self._ask(spec.endpoint, deadline)
                server_us = time_us(value_at(answer, spec.at), spec.unit)
            except (_Unanswered, AnswerError):
                break
            samples.append(skew.Sample(response.sent_us, response.received_us, server_us))
        measured = skew.measure(samples, spec.resolution_ms)
        if measured is not None:
            memory.skew, memory.skew_s = measured, now_s
        elif now_s - memory.skew_s > STALE_INTERVALS * spec.every_s:
            memory.skew = None

    def _ask(self, endpoint: Endpoint, deadline: Deadline) -> tuple[http.Response, Any]:
        """Return an answer that is one, and its value. Raises _Unanswered."""
        if self._clock() < self._memory.held_until_s:
            raise _Unanswered(self._memory.held_because)
        try:
            response = self._fetch(
                self._preset.url(endpoint),
                headers=_HEADERS,
                timeout_s=round(deadline.left_s(), 2) or 0.01,
                allow_private=self._allow_private,
                max_redirects=0,
            )
        except TimeoutError as error:
            raise _Unanswered(str(error)) from None
        except ReachError as error:
            raise _Unanswered(error.reason, is_own_guard=error.step == _GUARD) from None
        try:
            if response.status == 200:
                answer = parse(response)
                check(answer, endpoint.ok, endpoint.has)
                return response, answer
            reason = _status(response)
        except AnswerError as error:
            reason = str(error)
        raise self._failure(response, reason)

    def _failure(self, response: http.Response, reason: str) -> _Unanswered:
        throttled = self._preset.throttled
        if not is_asked_to_wait(response, throttled):
            return _Unanswered(reason)
        asked_s = wait_s(response.headers, throttled.wait_s)
        until = from_us(response.received_us + int(asked_s * 1_000_000))
        told = (
            f"too many requests from this address ({reason}), not asked until {until:%H:%M:%S} UTC"
        )
        self._memory.held_until_s, self._memory.held_because = self._clock() + asked_s, told
        return _Unanswered(self._memory.held_because, wait_s=asked_s)

    # ------------------------------------------------------------------ concluding

    def _held(self, now_s: float) -> Result:
        memory = self._memory
        told = plain(memory.held_because, MAX_TEXT_BYTES)
        if memory.result is None or now_s - memory.looked_s > KEEP_S:
            facts: dict[str, Fact] = {"mode": Mode.UNKNOWN.value, "decided_by": "our own probe"}
            return Result("unknown", told, facts=facts)
        reason = plain(f"{told}; before: {memory.result.reason}", MAX_TEXT_BYTES)
        # It took no time, since nothing was asked.
        return replace(memory.result, reason=reason, took_ms=0.0)

    def _conclude(self, own: Own, answers: Sequence[http.Response], took_ms: float) -> Result:
        memory = self._memory
        verdict = combine(own, memory.announcement, memory.unreadable)
        state, reason = STATES[verdict.mode], verdict.reason
        facts: dict[str, Fact] = {"mode": verdict.mode.value, "decided_by": verdict.decided_by}
        if memory.announcement is not None:
            facts["announced"] = memory.announcement.text
            if memory.announcement.until_us is not None:
                facts["announced_until_us"] = memory.announcement.until_us
        if answers:
            took_ms = max(response.took_ms for response in answers)
            facts["rest_ms"] = round(took_ms, 1)
            facts |= self._spent(answers[-1])
        clock_facts, complaint, is_failing = self._clock_says()
        facts |= clock_facts
        if complaint and state == "up":
            state, reason = ("degraded" if is_failing else state), f"{complaint}; {reason}"
        return Result(state, plain(reason, MAX_TEXT_BYTES), took_ms, facts)

    def _clock_says(self) -> tuple[dict[str, Fact], str, bool]:
        """Return the facts about this host's clock, a complaint, and whether it is a failure."""
        measured, spec = self._memory.skew, self._preset.time
        if measured is None or spec is None:
            return {}, "", False
        used_pct = measured.used_pct(spec.ahead_ms, spec.behind_ms)
        facts: dict[str, Fact] = {
            "skew_ms": round(measured.ahead_ms, 1) + 0.0,  # no -0.0
            "skew_error_ms": round(measured.error_ms, 1),
            "skew_samples": measured.samples,
            "skew_used_pct": round(used_pct, 1),
        }
        judgement = skew.judge(used_pct)
        allowed_ms = spec.ahead_ms if measured.ahead_ms > 0 else spec.behind_ms
        if judgement == "fine" or allowed_ms is None:
            return facts, "", False
        return facts, skew.told(measured, allowed_ms), judgement == "fail"

    def _spent(self, response: http.Response) -> dict[str, Fact]:
        """Return how much of its limit this address has used, where the exchange tells."""
        weight = self._preset.weight
        used = response.headers.get(weight.header, "") if weight is not None else ""
        if weight is None or not (used.isascii() and used.isdigit() and len(used) < 10):
            return {}
        return {"weight_used": int(used), "weight_limit": weight.limit}


def _left_s(deadline: Deadline) -> float:
    try:
        return deadline.left_s()
    except TimeoutError as error:
        raise _Unanswered(str(error)) from None


def _status(response: http.Response) -> str:
    if response.status in _REFUSED:
        where = "this host's country, network or address"
        return f"HTTP {response.status}, it refuses {where}"
    location = response.headers.get("location", "")
    if 300 <= response.status < 400 and location:
        return f"HTTP {response.status}, a redirect to {plain(location, 80)}"
    return f"HTTP {response.status}, expected 200"
