"""The canonical form and its hashes, against vectors that were made by hand and by RFC 6962."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from outrider_collector.store.audit.canonical import Seal, Value, canonical, leaf_hash, tree_hash


def test_every_value_is_a_text_or_null_and_keys_are_in_order() -> None:
    """Numbers, times, booleans and ids have one way to be written; texts stay as they are."""
    row: dict[str, Value] = {
        "ts": 817_000_000_000_001, "trace_id": b"\x00\xff", "replayed": False, "actor": 'Zoë "\n',
        "agent": None,
    }  # fmt: skip
    assert (
        canonical(row)
        == (
            '{"actor":"Zoë \\"\\n","agent":null,"form":"1","replayed":"false",'
            '"trace_id":"00ff","ts":"817000000000001"}'
        ).encode()
    )
    assert leaf_hash(row) == sha256(b"\x00" + canonical(row)).digest()


def test_the_tree_is_that_of_rfc_6962() -> None:
    """Over 1, 2, 3 and 7 leaves: the largest power of two goes to the left, nodes begin with 1."""
    leaves = [sha256(bytes([n])).digest() for n in range(7)]

    def node(left: bytes, right: bytes) -> bytes:
        return sha256(b"\x01" + left + right).digest()

    a, b, c, d, e, f, g = leaves
    assert tree_hash(leaves[:1]) == a
    assert tree_hash(leaves[:2]) == node(a, b)
    assert tree_hash(leaves[:3]) == node(node(a, b), c)
    whole = node(node(node(a, b), node(c, d)), node(node(e, f), g))
    assert tree_hash(leaves) == whole


def test_a_root_depends_on_every_value_of_its_seal() -> None:
    """Each value of a seal changed by itself gives another root."""
    values: dict[str, Any] = {
        "number": 2, "month": 0, "after_id": 1, "up_to_id": 3, "ids": (2, 3), "leaves": b"l" * 64,
        "previous": b"p" * 32, "sealed_at": 5,
    }  # fmt: skip
    others = {
        "number": 3, "month": 1, "after_id": 0, "up_to_id": 4, "ids": (2,), "leaves": b"m" * 64,
        "previous": b"q" * 32, "sealed_at": 6,
    }  # fmt: skip
    roots = {Seal(**values).root}
    roots |= {Seal(**{**values, name: other}).root for name, other in others.items()}
    assert len(roots) == 1 + len(others)
