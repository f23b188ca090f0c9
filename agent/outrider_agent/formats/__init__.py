"""Plain-text formats by name, and how one is chosen for a file."""

from __future__ import annotations

from outrider_agent.formats.choose import choose, sample
from outrider_agent.formats.table import FORMATS, Format, Parsed

__all__ = ["FORMATS", "Format", "Parsed", "choose", "sample"]
