"""The attempts to tell somebody, for a terminal: what repeats is said once. Pure."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from outrider.visible import visible
from outrider_alerting.rules import IN_APP
from outrider_collector.terminal.render import moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from outrider_collector.store.reading.types import Attempt, Notification


def try_lines(tries: Sequence[Attempt]) -> Iterator[str]:
    """Yield a line for each try; those in a row that came to the same are one line."""
    number = 1
    for (outcome, error), run in itertools.groupby(tries, key=lambda t: (t.outcome, t.error)):
        same = list(run)
        said = f"{outcome or 'no outcome yet'}{f': {visible(error)}' if error else ''}"
        if len(same) == 1:
            yield f"try {number}  {moment(same[0].started_at)}  {said}"
        else:
            first, last = moment(same[0].started_at), moment(same[-1].started_at)
            yield f"tries {number} to {number + len(same) - 1}  {first} to {last}  {said}"
        number += len(same)


def why(row: Notification, others: Iterable[Notification]) -> str:
    """Return ``: ...`` for what a row itself says of its fate, beyond its tries; or nothing.

    The notification centre's also tells what other channels could not be told: those are named
    here, and what they say stands with them.
    """
    if not row.why:
        return ""
    if row.channel == IN_APP and row.fate == "sent":
        names = dict.fromkeys(
            other.channel for other in others
            if other.channel != IN_APP and f"{other.channel}: " in row.why
        )  # fmt: skip
        if names:
            return f"; it names what could not be told at once: {visible(', '.join(names))}"
    if len(row.tries) > 1 and any(attempt.error == row.why for attempt in row.tries):
        return ""
    return f": {visible(row.why)}"
