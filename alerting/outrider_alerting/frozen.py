"""What is stored of a rule that costs too much; what follows from it is in :mod:`.freezing`."""

from __future__ import annotations

import msgspec


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """Why a rule is frozen and since when."""

    why: str
    since_us: int
