"""The pure parts of compaction: tokens, filters, plans."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from outrider.filter.folding import fold, word_pattern
from outrider_collector.store.compaction import bloom
from outrider_collector.store.compaction.plan import (
    FULL_RECORDS,
    MOVE_BYTES,
    MOVE_RECORDS,
    Candidate,
    moves,
)
from outrider_collector.store.compaction.tokens import tokens_of_texts, tokens_sought

# Letters of both sides of ASCII, of odd case, digits, dots, escapes and what ends a word.
LETTERS = 'abnrtfAN_019.. -\\\n"éÉßİKÅ\u017f数'
BASE = datetime(2026, 1, 5, tzinfo=UTC)


@given(
    text=st.text(LETTERS, max_size=30),
    word=st.text(LETTERS, min_size=1, max_size=8),
    prefix=st.booleans(),
    in_json=st.booleans(),
)
def test_what_a_word_matches_has_the_word_s_tokens(
    text: str, word: str, prefix: bool, in_json: bool
) -> None:
    """A filter never hides a match: every token sought is one of the text's."""
    stored = json.dumps({"k": text}, ensure_ascii=False) if in_json else text
    if not word_pattern(word, prefix=prefix, json=in_json).search(fold(stored)):
        return
    found = tokens_of_texts([b"other", stored.encode()], json=in_json)
    assert set(tokens_sought(fold(word), prefix=prefix)) <= found


@given(text=st.text(LETTERS, max_size=20), start=st.integers(0, 19), size=st.integers(1, 8))
def test_words_cut_out_of_a_text_have_its_tokens(text: str, start: int, size: int) -> None:
    """The same for words that are there, whatever surrounds them."""
    word = text[start : start + size]
    for prefix in (False, True):
        if word and word_pattern(word, prefix=prefix).search(fold(text)):
            sought = set(tokens_sought(fold(word), prefix=prefix))
            assert sought <= tokens_of_texts([text.encode()])


def test_texts_do_not_grow_together() -> None:
    """The end of one and the begin of the next make no token."""
    assert tokens_of_texts([b"ab", b"cd", b"1.", b"2"]) == {b"ab", b"cd", b"1", b"2"}


def test_identifiers_are_tested_before_common_words() -> None:
    """The rarest by their looks come first, pairs of an address before its parts."""
    assert tokens_sought("timed out for order-7f3a9c", prefix=False)[0] == b"7f3a9c"
    assert tokens_sought("10.20.30.40", prefix=False)[:2] == [b"10.20", b"20.30"]


@given(st.sets(st.binary(min_size=1, max_size=12), max_size=300))
def test_a_filter_has_what_was_put_in(tokens: set[bytes]) -> None:
    """No false "no", and a size that is a power of two."""
    bits = bloom.build(tokens)
    assert all(bloom.has(bits, token) for token in tokens)
    assert len(bits) & (len(bits) - 1) == 0


def test_a_filter_seldom_has_what_was_not() -> None:
    """Fewer than one of 200 other tokens seems to be there, at the fullest a filter gets."""
    full = 8 * 16_384 // bloom.LEAST_BITS_A_TOKEN
    bits = bloom.build({f"token{i}".encode() for i in range(full)})
    assert len(bits) == 16_384
    for shape in ("{:016x}", "order-{}", "{}"):
        false = sum(bloom.has(bits, shape.format(i * 7_919).encode()) for i in range(20_000))
        assert false < 20_000 / 100


_BLOCKS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.booleans(),
        st.integers(1, MOVE_RECORDS),
        st.sampled_from([100, 10**6, MOVE_BYTES]),
    ),
    max_size=30,
)


@given(blocks=_BLOCKS, everything=st.booleans())
def test_a_plan_moves_each_block_once_within_its_limits(
    blocks: list[tuple[str, bool, int, int]], everything: bool
) -> None:
    """A move is of many blocks only within its limits; what stays would not fill a block."""
    found = [
        Candidate(f"(0,{i})", 1, service, replayed, n, size, BASE + timedelta(seconds=i))
        for i, (service, replayed, n, size) in enumerate(blocks)
    ]
    by_name = {each.block: each for each in found}
    planned = moves(found, all_of_them=everything)
    moved = [by_name[block] for move in planned for block in move.blocks]
    assert len(moved) == len({each.block for each in moved})
    for move in planned:
        members = [by_name[block] for block in move.blocks]
        assert move.records == sum(each.n for each in members)
        if len(members) > 1:
            assert move.records <= MOVE_RECORDS
            assert sum(each.stored_bytes for each in members) <= MOVE_BYTES
    if everything:
        assert len(moved) == len(found)
    for service in ("a", "b"):
        for replayed in (False, True):
            left = [
                each
                for each in found
                if (each.service, each.replayed) == (service, replayed) and each not in moved
            ]
            pieces = 1 + sum(each.stored_bytes for each in left) // MOVE_BYTES
            assert sum(each.n for each in left) < FULL_RECORDS * max(1, 2 * pieces)
