"""The component ``store`` of kind ``pipeline``: whether there is room for what comes.

Every collector has it, unasked. It looks at nothing itself: it says what the collector's
:class:`~outrider_collector.ingest.disk.DiskWatch` has seen, so that a page, a rule and the log say
the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from outrider.probes.result import Fact, Result
from outrider.probes.spec import Kind, Spec

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from outrider.addresses import Network
    from outrider.probes.deadline import Deadline
    from outrider.probes.keys import Keys
    from outrider_collector.ingest.disk import Seen

    Ask = Callable[[], Seen | None]

EVERY_S: Final = 10.0
NAME: Final = "store"


def spec(ask: Ask) -> Spec[Any]:
    """Return the probe; ``ask`` says what was seen last."""
    kind: Kind[Any] = Kind(NAME, _read, look, group="pipeline")
    # What it is told has a lower end than its beginning: it needs no rise or fall of its own.
    return Spec(NAME, kind, EVERY_S, EVERY_S, 1, 1, ask)


def _read(_keys: Keys, _networks: tuple[Network, ...]) -> Ask:
    raise NotImplementedError("it is not configured by itself")


def look(asked: Spec[Ask], _deadline: Deadline) -> Result:
    """Say what was seen last."""
    seen = asked.target()
    if seen is None:
        return Result("unknown", "the database has not been measured yet")
    facts: dict[str, Fact] = {"used_bytes": seen.used_bytes}
    if seen.budget is not None:
        facts["budget_bytes"] = seen.budget.limit_bytes
    if seen.coming is not None and seen.coming.full_in_s is not None:
        facts["full_in_s"] = round(seen.coming.full_in_s)
    return Result(seen.judged.state, seen.judged.reason, facts=facts)
