"""What is wrong with a filter's text, and where."""

from __future__ import annotations


class FilterError(ValueError):
    """A filter cannot be read: the message, the place in the text, and what was probably meant.

    ``position`` and ``length`` are in characters, from 0; ``suggestion`` replaces that part, or is
    None.
    """

    def __init__(
        self, message: str, position: int, length: int = 1, suggestion: str | None = None
    ) -> None:
        hint = f"; did you mean `{suggestion}`?" if suggestion else ""
        super().__init__(f"column {position + 1}: {message}{hint}")
        self.message = message
        self.position = position
        self.length = length
        self.suggestion = suggestion

    @property
    def column(self) -> int:
        """The place as people count, from 1."""
        return self.position + 1
