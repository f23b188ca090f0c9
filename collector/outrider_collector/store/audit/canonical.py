"""The canonical form of an audit row, and the hashes that are made of it. Form 1.

An outsider can prove the log with this page alone.

**Row.** A JSON object as RFC 8785 (JCS) writes it: keys in order, no white space, UTF-8. Every
value is a string or null, so that no rule about numbers is needed:

* ``form``: ``1``;
* one key for each column of ``audit_log``, by its name (:data:`COLUMNS`);
* integers in decimal; times as microseconds since 2000-01-01T00:00:00Z in decimal; booleans as
  ``true`` and ``false``; ``trace_id`` as 32 hexadecimal digits; texts as they are stored, among
  them ``attributes``, ``before`` and ``after``, which are JSON and are not read.

**Hashes** are SHA-256 and are told apart by their first byte, as in RFC 6962:

* leaf: ``H(0x00 || row)``;
* node: ``H(0x01 || left || right)``; the tree over n > 1 leaves has the largest power of two below
  n on its left;
* seal: ``H(0x02 || seal)``, where the seal is a JSON object like that of a row with the keys
  ``form``, ``number``, ``month``, ``after_id``, ``up_to_id``, ``n`` (of rows), ``tree``,
  ``previous`` (64 hexadecimal digits each) and ``sealed_at``. This is its *root*; ``previous`` is
  the root of the seal before, so a root stands for every row up to its seal.

A *head* is a seal's number and root, ``12:ab34..``: what is published outside of the database.
Whoever changes a row behind a published head must find another text with the same SHA-256.

Changing anything here needs another form, beside this one. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FORM: Final = "1"
HASH_BYTES: Final = 32
NO_ROOT: Final = bytes(HASH_BYTES)
"""What the first seal has for ``previous``."""

COLUMNS: Final = (
    "id", "received_at", "ts", "class", "event", "actor", "target", "outcome", "reason", "before",
    "after", "severity", "message", "error_code", "trace_id", "correlation_id", "attributes",
    "team", "service", "worker", "host", "agent", "stream", "stream_offset", "commit_id",
    "replayed",
)  # fmt: skip

_LEAF, _NODE, _SEAL = b"\x00", b"\x01", b"\x02"

Value = str | int | bool | bytes | None
"""Of a column; times are microseconds since 2000, ids are bytes."""


class Head(NamedTuple):
    """A seal as it is published."""

    number: int
    root: bytes

    def __str__(self) -> str:
        return f"{self.number}:{self.root.hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """A row of ``audit_seals``; times are microseconds since 2000."""

    number: int
    month: int
    after_id: int
    up_to_id: int
    ids: tuple[int, ...]
    leaves: bytes
    """One hash for each of ``ids``."""
    previous: bytes
    sealed_at: int

    @property
    def tree(self) -> bytes:
        """Hash of the tree over the leaves."""
        size = HASH_BYTES
        return tree_hash([self.leaves[i : i + size] for i in range(0, len(self.leaves), size)])

    @property
    def root(self) -> bytes:
        """What this seal and every one before it come to."""
        return seal_hash(
            number=self.number,
            month=self.month,
            after_id=self.after_id,
            up_to_id=self.up_to_id,
            n=len(self.ids),
            tree=self.tree,
            previous=self.previous,
            sealed_at=self.sealed_at,
        )


def canonical(values: Mapping[str, Value]) -> bytes:
    """Return a row or seal in its canonical form."""
    texts = {name: _text(value) for name, value in values.items()}
    return json.dumps(
        {**texts, "form": FORM}, sort_keys=True, ensure_ascii=False, separators=(",", ":")
    ).encode()


def leaf_hash(row: Mapping[str, Value]) -> bytes:
    """Return the hash of a row, given with every one of COLUMNS."""
    return sha256(_LEAF + canonical(row)).digest()


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """Return the hash of the tree over one leaf or more."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(_NODE + tree_hash(leaves[:split]) + tree_hash(leaves[split:])).digest()


def seal_hash(**values: Value) -> bytes:
    """Return the root of a seal of these values."""
    return sha256(_SEAL + canonical(values)).digest()


def _text(value: Value) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
