"""The column encodings: what is packed is unpacked, damage is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outrider.columns import (
    ColumnError,
    pack_dictionary,
    pack_int64,
    pack_text,
    unpack_bytes,
    unpack_int64,
    unpack_text,
)

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.none() | _texts))
def test_text_columns_round_trip(values: list[str | None]) -> None:
    """Texts and nulls come back as they were."""
    packed = pack_text([None if v is None else v.encode() for v in values])

    assert unpack_text(packed, len(values)) == values


def test_long_values_are_packed() -> None:
    """A value beyond the table of short lengths is framed the same."""
    assert unpack_bytes(pack_text([b"x" * 5000, b""]), 2) == [b"x" * 5000, b""]


@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1)))
def test_int64_columns_round_trip(values: list[int]) -> None:
    """Integers of 64 bits come back as they were."""
    assert list(unpack_int64(pack_int64(values), len(values))) == values


@given(st.lists(st.none() | st.integers(0, 400).map(str), max_size=600))
def test_dictionary_columns_round_trip(values: list[str | None]) -> None:
    """Repeated texts come back as they were, with one index byte or two."""
    assert pack_dictionary(values).texts(len(values)) == values


@pytest.mark.parametrize(
    ("column", "n"),
    [(b"\0\0\0\5ab", 1), (b"\0\0", 1), (b"\xff\xff\xff\xfe", 1), (pack_text([b"a"]), 2)],
)
def test_damaged_text_columns_are_refused(column: bytes, n: int) -> None:
    """A column that does not hold exactly what it announces is a ColumnError."""
    with pytest.raises(ColumnError):
        unpack_bytes(column, n)


def test_damaged_other_columns_are_refused() -> None:
    """Integers and indexes of a wrong size, or an index without a value, are a ColumnError."""
    with pytest.raises(ColumnError):
        unpack_int64(b"\0" * 9, 1)
    packed = pack_dictionary(["a", "b"])
    with pytest.raises(ColumnError):
        packed.texts(3)
    with pytest.raises(ColumnError):
        type(packed)(("a",), b"\2").texts(1)
