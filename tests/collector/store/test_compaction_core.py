"""The pure parts of compaction: tokens, filters, plans."""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from zlib import crc32

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from outrider.filter.folding import fold, word_pattern
from outrider_collector.store.compaction import bloom, checksums
from outrider_collector.store.compaction.compactor import PATIENCE, PATIENT_S, rest_s
from outrider_collector.store.compaction.plan import (
    FULL_RECORDS,
    MOVE_BYTES,
    MOVE_RECORDS,
    Candidate,
    moves,
)
from outrider_collector.store.compaction.tokens import tokens_sought, whole_token
from outrider_collector.store.record_columns import TEXTS

# Letters of both sides of ASCII, of odd case, digits, dots, escapes and what ends a word.
LETTERS = 'abnrtfAN_019.. -\\\n"éÉßİKÅ\u017f数'
BASE = datetime(2026, 1, 5, tzinfo=UTC)


# Runs as long as integers of 8 bytes are, longer, and longer than is computed at once.
PIECES = st.one_of(
    st.text(LETTERS, max_size=30),
    st.sampled_from(["order-7f3a9c", "10.20.30.40", "1234567.12345678", "12345678.123456789.1a"]),
    st.integers(7, 70).map(lambda n: "x" * n),
    st.uuids().map(str),
    st.ip_addresses().map(str),
)
TEXT = st.lists(PIECES, max_size=4).map("".join)


def _found(texts: list[bytes], *, json: bool = False) -> set[int]:
    return set(checksums.of_texts(*([], texts) if json else (texts,)).tolist())


def _sums(tokens: list[bytes]) -> set[int]:
    return {crc32(token) for token in tokens}


@given(texts=st.lists(TEXT, max_size=4), in_json=st.booleans())
@example(texts=["\nValueError: 10.2.3.4\t1.2"], in_json=True)
def test_the_tokens_of_texts_are_those_that_are_described(texts: list[str], in_json: bool) -> None:
    """Runs, pairs of numbers, runs behind an escape of JSON: these and no others."""
    stored = [json.dumps(text, ensure_ascii=False) if in_json else text for text in texts]
    described: set[bytes] = set()
    for text in stored:
        lowered = text.encode().lower()
        behind = re.findall(rb"\\[nrtbf]([0-9a-z_.]+)", lowered) if in_json else []
        for part in (lowered, *behind):
            described.update(re.findall(rb"[0-9a-z_]+", part))
            pair = rb"(?<![0-9a-z_])(?=([0-9]+\.[0-9]+)(?![0-9a-z_]))"
            described.update(re.findall(pair, part))
    assert _found([text.encode() for text in stored], json=in_json) == _sums(list(described))


@given(
    text=TEXT,
    word=st.one_of(st.text(LETTERS, min_size=1, max_size=8), PIECES.filter(bool)),
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
    found = _found([b"other", stored.encode()], json=in_json)
    assert _sums(tokens_sought(fold(word), prefix=prefix)) <= found


@given(text=TEXT, start=st.integers(0, 40), size=st.integers(1, 40))
def test_words_cut_out_of_a_text_have_its_tokens(text: str, start: int, size: int) -> None:
    """The same for words that are there, whatever surrounds them."""
    word = text[start : start + size]
    for prefix in (False, True):
        if word and word_pattern(word, prefix=prefix).search(fold(text)):
            assert _sums(tokens_sought(fold(word), prefix=prefix)) <= _found([text.encode()])


def test_texts_do_not_grow_together() -> None:
    """The end of one and the begin of the next make no token."""
    assert _found([b"ab", b"cd", b"1.", b"2"]) == _sums([b"ab", b"cd", b"1", b"2"])


def test_values_of_some_columns_are_tokens_as_a_whole() -> None:
    """What a search for a logger, a trace or a correlation id seeks is there; each token once."""
    texts = dict.fromkeys(TEXTS) | {
        "logger": [b"a.b", None, b"a.b"],
        "trace_id": [bytes(range(16)), None, None],
        "correlation_id": [None, b"c d", None],
        "event": [b"app.started", None, b"app.started"],
    }
    found = checksums.of_columns(texts).tolist()
    whole = [whole_token("logger", "a.b"), whole_token("correlation_id", "c d")]
    whole += [whole_token("trace_id", bytes(range(16)).hex()), b"app", b"started"]
    assert sorted(found) == sorted(map(crc32, whole))


def test_identifiers_are_tested_before_common_words() -> None:
    """The rarest by their looks come first, pairs of an address before its parts."""
    assert tokens_sought("timed out for order-7f3a9c", prefix=False)[0] == b"7f3a9c"
    assert tokens_sought("10.20.30.40", prefix=False)[:2] == [b"10.20", b"20.30"]


def _filter(tokens: list[bytes]) -> bytes:
    return checksums.filter_of(np.array([crc32(token) for token in tokens], dtype=np.uint32))


def _has(bits: bytes, token: bytes) -> bool:
    """As a search asks in SQL."""
    return all(bits[probe.byte & (len(bits) - 1)] & probe.bit for probe in bloom.probes(token))


@given(st.sets(st.binary(min_size=1, max_size=12), max_size=300))
def test_a_filter_has_what_was_put_in(tokens: set[bytes]) -> None:
    """No false "no", and a size that is a power of two."""
    bits = _filter(list(tokens))
    assert all(_has(bits, token) for token in tokens)
    assert len(bits) & (len(bits) - 1) == 0


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 40), max_size=200))
def test_each_value_is_there_once(values: list[int]) -> None:
    """Whatever shares a slot of the table."""
    assert sorted(checksums.unique(np.array(values, dtype=np.uint64)).tolist()) == sorted(
        set(values)
    )


def test_a_filter_seldom_has_what_was_not() -> None:
    """Fewer than one of 100 other tokens seems to be there, at the fullest a filter gets."""
    full = 8 * 16_384 // bloom.LEAST_BITS_A_TOKEN
    bits = _filter([f"token{i}".encode() for i in range(full)])
    assert len(bits) == 16_384
    for shape in ("{:016x}", "order-{}", "{}"):
        false = sum(_has(bits, shape.format(i * 7_919).encode()) for i in range(20_000))
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


def test_compaction_rests_longer_while_others_want_the_processor() -> None:
    """Alone as long as it works, with a share of a half; without rest, with a share of 1."""
    assert rest_s(2.0, 0.0, 0.5, -math.inf) == 2.0
    assert rest_s(2.0, 1.0, 0.5, -math.inf) == 2.0 + PATIENCE
    assert rest_s(2.0, 1.0, 1.0, -math.inf) == 0.0


def test_compaction_is_never_starved() -> None:
    """The longer something is overdue the less it gives way, until its share is all its own."""
    rests = [rest_s(2.0, 18.0, 0.5, PATIENT_S * part) for part in (0, 0.25, 0.5, 1, 2)]
    assert rests == sorted(rests, reverse=True)
    assert rests[0] == 2.0 + 18 * PATIENCE
    assert rests[-2:] == [2.0, 2.0]
