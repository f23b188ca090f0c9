"""Plain-text formats by name, and how one is chosen for a file."""

from __future__ import annotations

from outrider_agent.formats.choose import SAMPLE_LINES, choose
from outrider_agent.formats.table import FORMATS, Format, Parsed

__all__ = ["FORMATS", "SAMPLE_LINES", "Format", "Parsed", "choose"]
