"""Why lines are missing: the stable words of gaps, with what each says to people.

A word is what a gap carries over the wire and in the table ``gaps``; rules and filters may name it,
so words are only added. A gap may also carry a detail of its own (a path, an error's text), which
says more than the sentence here.
"""

from __future__ import annotations

from typing import Final

ERASED: Final = "erased"
"""Lines that were there and are not to be: no loss that anybody has to mend."""

SHED: Final = "shed"
"""Days of debug records that made room in a store that was nearly full."""

SENTENCES: Final[dict[str, str]] = {
    "truncated": "the file was truncated or rewritten before it was read",
    "copytruncate": "lines between the copy of the file and its truncation may be missing",
    "vanished": "the file went away before it was read",
    "inbox_full": "the inbox had no room for them",
    "held_full": "the file was deleted, and more of it was waiting than the agent may hold",
    "backlog_full": "more of the source was waiting than may, and these were the first to go",
    "damaged": "the file was compressed before it was read, and the archive is damaged",
    "quarantined": "Postgres refused them: they are kept in quarantine",
    "store_regression": "the database forgot them and no host holds them any more",
    SHED: "the store was nearly full, and debug records go first then",
    ERASED: "they were erased on purpose",
}


def sentence(reason: str) -> str:
    """Return what a reason says to people; a word that is not known stands for itself."""
    return SENTENCES.get(reason, reason.replace("_", " "))
