"""What is done now: one line that is written again and again, and is gone at the end."""

from __future__ import annotations

import sys
from typing import Self

from outrider.visible import visible


class Progress:
    """The line, on standard error where that is a terminal; elsewhere nothing is written."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def show(self, text: str) -> None:
        """Say what is done now."""
        if self._is_terminal:
            sys.stderr.write(f"\r{visible(text)}\x1b[K")
            sys.stderr.flush()

    def clear(self) -> None:
        """Make room for a line that stays."""
        if self._is_terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
