"""Sizes as people write them."""

from __future__ import annotations

import pytest

from outrider.sizes import Size, said, size_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0), ("500MB", 500_000_000), ("1.5TB", 1_500_000_000_000), ("2 GB", 2_000_000_000),
        ("3kB", 3_000), ("3KB", 3_000), ("512MiB", 512 << 20), ("1.25GiB", 5 << 28),
    ],
)  # fmt: skip
def test_units_are_powers_of_ten_and_with_an_i_of_two(text: str, size: int) -> None:
    """As disks are sold, and as every page shows sizes."""
    assert size_bytes(text) == Size(text).bytes == size


@pytest.mark.parametrize(
    "text", ["", "200", "GB", "-1GB", "1,5GB", "1.GB", "200gb", "1e3GB", "1GB/day", "1iB", "٣GB"]
)
def test_what_is_no_size_is_refused_with_how_to_write_one(text: str) -> None:
    """A size that is misread would cost data: nothing is guessed."""
    with pytest.raises(ValueError, match="is not a size, write it like"):
        size_bytes(text)


def test_two_ways_to_write_one_size_are_equal() -> None:
    """A configuration that says the same in other words is the same."""
    assert Size("1000MB") == Size("1GB")
    assert len({Size("1000MB"), Size("1GB")}) == 1


def test_what_people_read_is_powers_of_ten() -> None:
    """Bytes are said in kB and MB of powers of ten, never as 1,000.0 of anything."""
    assert [said(n) for n in (0, 999, 1_000, 2_100_000, 999_960, 5 * 10**15)] == [
        "0 B", "999 B", "1.0 kB", "2.1 MB", "1.0 MB", "5000.0 TB",
    ]  # fmt: skip
