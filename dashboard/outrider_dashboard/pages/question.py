"""What a log page's address asks, and the addresses of questions beside it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from outrider.filter import And, doubts
from outrider_collector.store.reading.types import Cursor
from outrider_dashboard import columns, highlight, ranges

if TYPE_CHECKING:
    from outrider.filter import Filter
    from outrider_dashboard.site import Visit


@dataclass(frozen=True)
class Question:
    """What the URL asks: filter, range, and where the page begins."""

    text: str
    range: ranges.Range
    filter: Filter | None
    mistake: highlight.Mistake | None
    after: Cursor | None = None
    columns: tuple[str, ...] = columns.DEFAULT

    def link(self, text: str | None = None, within: ranges.Range | None = None) -> str:
        """Return the address of the same question with another filter or range."""
        parameters = {"q": self.text if text is None else text}
        parameters.update((within or self.range).parameters())
        parameters.update(columns.parameters(self.columns))
        filled = {name: value for name, value in parameters.items() if value}
        return "/logs" + (f"?{urlencode(filled)}" if filled else "")

    def parameters(self) -> str:
        """Return filter and shown range as absolute parameters, for downloads and the next page."""
        since, until = self.range.shown
        return urlencode({"q": self.text, "from": ranges.write(since), "to": ranges.write(until)})

    @property
    def doubts(self) -> list[tuple[highlight.Letters, ...]]:
        """What the filter says that may have been meant otherwise."""
        return [
            highlight.with_code(said) for said in doubts(self.filter.node if self.filter else And())
        ]

    @property
    def columns_text(self) -> str:
        """What the address says of the columns; empty for the default."""
        return columns.parameters(self.columns).get("columns", "")

    def page_parameters(self) -> str:
        """Return ``parameters`` and what the rows show, for the next page."""
        shown = urlencode(columns.parameters(self.columns))
        return f"{self.parameters()}&{shown}" if shown else self.parameters()

    def command(self) -> str:
        """Return the command that prints the same lines in a terminal."""
        since, until = self.range.shown
        words = ["outrider", "logs", self.text] if self.text else ["outrider", "logs"]
        return shlex.join([*words, "--since", ranges.write(since), "--until", ranges.write(until)])


def question(visit: Visit) -> Question:
    """Read the URL. Raises RangeError; a mistake in the filter is part of the answer."""
    # The input is one line; spaces inside phrases and expressions are the user's.
    text = " ".join(visit.parameter("q").splitlines()).strip()
    within = asked_range(visit)
    found, mistake = highlight.read(text)
    after = visit.parameter("after", 80)
    cursor = Cursor.parse(after) if after else None
    return Question(text, within, found, mistake, cursor, shown_columns(visit))


def asked_range(visit: Visit) -> ranges.Range:
    """Read the URL's range: a relative one, links' from and to, or since and until.

    The form sends these two always, and means them only with ``exact``.
    """
    typed = visit.parameter("since", 1) or visit.parameter("until", 1)
    exact = bool(visit.parameter("exact", 1) or (typed and not visit.parameter("form", 1)))
    return ranges.read(
        visit.clock.now,
        visit.parameter("range", 20),
        visit.parameter("since" if exact else "from", 60),
        visit.parameter("until" if exact else "to", 60),
        visit.parameter("selected", 120),
        zone=visit.clock.zone,
    )


def shown_columns(visit: Visit) -> tuple[str, ...]:
    """Read which columns the URL asks for."""
    return columns.read(visit.request.query_params.getlist("columns"))
