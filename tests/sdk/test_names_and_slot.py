"""File names of the inbox, and the 64 bytes of a slot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outrider.inbox import names, slot
from outrider.inbox.names import SegmentName
from outrider.inbox.slot import Slot

_any_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)


@given(_any_text, _any_text)
def test_names_round_trip_and_stay_in_the_directory(service: str, worker: str) -> None:
    """Any name makes a file name that is not hidden, leaves no directory, gives the name back."""
    filename = SegmentName(service, worker, "0123456789abcdef").filename

    assert "/" not in filename and "\0" not in filename and not filename.startswith(".")
    assert len(filename) <= 255
    parsed = names.parse(filename)
    assert parsed == (names.normal(service), names.normal(worker), "0123456789abcdef")
    if len(service.encode()) * 3 <= names.MAX_PART_BYTES:
        assert parsed.service == service


def test_long_names_stay_different() -> None:
    """Two names that differ only at their end, beyond the limit, are two."""
    one, two = ("s" * 300 + end for end in "ab")

    assert names.normal(one) != names.normal(two)
    assert names.normal(names.normal(one)) == names.normal(one)


def test_other_files_are_no_segments() -> None:
    """Only a name of exactly the form is one."""
    for name in ("app.log", "a~b.jsonl", "a~b~xyz.jsonl", "a~b~0123456789abcdef.slot", "~~.jsonl"):
        assert names.parse(name) is None
    assert names.slot_filename("a~b~0123456789abcdef.jsonl") == "a~b~0123456789abcdef.slot"


slots = st.builds(
    Slot,
    pid=st.integers(0, 2**32 - 1),
    opened_us=st.integers(0, 2**62),
    done=st.integers(0, 2**64 - 1),
    total=st.integers(0, 2**64 - 1),
    progress_us=st.integers(0, 2**62),
    dropped=st.integers(0, 2**32 - 1),
    flags=st.integers(0, 7),
    note=st.text(st.characters(max_codepoint=127, exclude_characters="\0"), max_size=16),
    every_s=st.integers(0, 2**16 - 1),
)


@given(slots)
def test_slots_round_trip(value: Slot) -> None:
    """A slot is 64 bytes and comes back as it was."""
    raw = slot.pack(value)

    assert len(raw) == slot.SIZE
    assert slot.unpack(raw) == value


def test_the_published_layout() -> None:
    """The bytes are where the documentation has them."""
    raw = slot.pack(Slot(258, 1, 2, 3, 4, 5, slot.ENDED, "déjà vu, very long note", 7))

    assert raw[:4] == b"ORS1"
    assert raw[4:8] == b"\2\1\0\0"
    assert [raw[i] for i in (8, 16, 24, 32, 40, 44, 45)] == [1, 2, 3, 4, 5, 1, 1]
    assert raw[46:62].decode() == "déjà vu, very "
    assert raw[62:] == b"\7\0"


def test_numbers_out_of_range_are_brought_in() -> None:
    """A negative count is zero, one beyond the field its largest value."""
    read = slot.unpack(slot.pack(Slot(done=-5, total=1 << 70, dropped=1 << 40, every_s=1 << 20)))

    assert read is not None
    assert (read.done, read.total, read.dropped) == (0, 2**64 - 1, 2**32 - 1)
    assert read.every_s == 2**16 - 1


@given(st.binary(max_size=80))
def test_other_bytes_are_no_slot(raw: bytes) -> None:
    """A torn, empty or foreign file is None, not an error."""
    if not raw.startswith(b"ORS1") or len(raw) != slot.SIZE:
        assert slot.unpack(raw) is None


def test_more_than_can_have_been_dropped_is_no_count() -> None:
    """A microsecond a record at best, but for what is too little to say; the highest says none."""
    hour = Slot(1, opened_us=10**15, dropped=3_600_000_000)

    assert hour.dropped_plausibly(10**15 + 3_600_000_000)
    assert not hour.dropped_plausibly(10**15 + 3_599_999_999)
    assert Slot(1, 10**15, dropped=slot.PLAUSIBLE_DROPPED).dropped_plausibly(10**15)
    assert not Slot(1, 0, dropped=2**32 - 1).dropped_plausibly(10**15)
    assert not Slot(1, -1, dropped=1).dropped_plausibly(10**15)


def test_death_is_told_once() -> None:
    """A writer that ended, went on elsewhere, or whose death was recorded, did not die untold."""
    assert Slot(pid=1).died
    assert not Slot().died
    for flag in (slot.ENDED, slot.CONTINUED, slot.DEATH_RECORDED):
        assert not Slot(pid=1, flags=flag).died
