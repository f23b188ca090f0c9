"""A step's quorum as it was recorded: with it the step can be taken again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from outrider_alerting.watermarks import Answer

if TYPE_CHECKING:
    from outrider_alerting.watermarks import Record, Scope


class RecordedQuorum:
    """A quorum that answers as another one did."""

    def __init__(self, record: Record) -> None:
        self.marks = record.marks
        self._answers = dict(record.answers)

    def answer(self, scope: Scope) -> Answer:
        """Return the recorded answer; what was not asked then cannot be told now."""
        return self._answers.get(scope, Answer())
