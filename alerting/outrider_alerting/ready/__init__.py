"""Rules that are of use to everybody, ready to be copied or applied as they are."""

from __future__ import annotations

from importlib import resources


def files() -> list[tuple[str, str]]:
    """Return the rule files (name, text), in name order."""
    found = (entry for entry in resources.files(__name__).iterdir() if entry.name.endswith(".toml"))
    return sorted((entry.name, entry.read_text(encoding="utf-8")) for entry in found)
