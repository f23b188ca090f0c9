"""Exchanges: whether one answers, what it announces, and whether this host's clock suits it.

::

    preset ──▶ Exchange.look ─┬─ what must answer ──▶ Own ───────────┐
    (loading)                 ├─ its status ──▶ Announcement ────────┴▶ modes.combine ──▶ Result
                              └─ its time, five times ──▶ skew.measure ──▶ Skew ───────────▲

What is known of an exchange is data: one TOML file each beside this module, and a user adds one
without code (:mod:`.loading` has the page on it). Everything but :mod:`.exchange` is pure.
"""

from __future__ import annotations

from outrider.exchanges.exchange import Exchange
from outrider.exchanges.loading import known, load
from outrider.exchanges.preset import Preset

__all__ = ["Exchange", "Preset", "known", "load"]
