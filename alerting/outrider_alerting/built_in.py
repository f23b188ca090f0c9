"""Rules that stand in no file and cannot be changed: what Outrider tells of itself."""

from __future__ import annotations

from typing import Final

KIND: Final = "built-in"
DATABASE: Final = "outrider-database"
"""Nothing can be stored (:mod:`.outage`)."""
FROZEN: Final = "outrider-frozen"
"""A rule costs too much (:mod:`.freezing`)."""

NAMES: Final = frozenset({DATABASE, FROZEN})
"""No rule of a file may have one of these."""
