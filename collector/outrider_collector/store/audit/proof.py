"""What the seals say against what is there: the chain, and each row behind it.

Seals come in groups that cover the same ids (one for each month), groups without a hole between
them; so every row up to the last seal belongs to one group, or should not be there. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from outrider.instants import from_us
from outrider_collector.store.audit.canonical import HASH_BYTES, NO_ROOT, Head, Seal, leaf_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from outrider_collector.store.audit.canonical import Value

    Row = Mapping[str, Value]

MOST_COMPARED: Final = 100
"""Of rows that are wrong in one group so many are compared with each other, for their order."""


LATE_S: Final = 300.0
"""A row that waits longer for its seal means that nobody seals, or that its seal was removed."""
BACKDATED_S: Final = 300.0
"""A row that says it came so long before the seal of smaller ids did not come when it says.

Its time is when its transaction began, and that of a commit or an act takes seconds.
"""


class Finding(NamedTuple):
    """Something that is not as it was sealed or published."""

    what: str
    """row changed, row removed, row inserted, row backdated, row reordered, row twice;
    seal changed, seal missing; head differs, head missing."""
    where: str
    """The row or seal, such as ``row 12 (seal 3)``."""
    detail: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A seal with what its row says of itself."""

    seal: Seal
    tree: bytes
    root: bytes


class Chain:
    """Looks at seals in order, each of which must follow from the one before."""

    def __init__(self, heads: Iterable[Head] = ()) -> None:
        self._heads: dict[int, set[bytes]] = {}
        for head in heads:
            self._heads.setdefault(head.number, set()).add(head.root)
        self.head = Head(0, NO_ROOT)
        """Of the last seal looked at."""
        self.agreeing = 0
        """Published heads that the seals bear out."""
        self._after_id = self._up_to_id = 0

    def look(self, stored: Stored) -> Iterator[Finding]:
        """Yield what is wrong with the next seal by itself, and against what was published."""
        seal, where = stored.seal, f"seal {stored.seal.number}"
        if seal.number != self.head.number + 1:
            yield Finding(
                "seal missing",
                where,
                f"the seal before it is {self.head.number}, not its neighbour",
            )
        elif seal.previous != self.head.root:
            yield Finding("seal changed", where, "it does not follow from the seal before it")
        if len(seal.leaves) != HASH_BYTES * len(seal.ids) or not seal.ids:
            yield Finding("seal changed", where, "it has not one leaf for each of its rows")
        elif (stored.tree, stored.root) != (seal.tree, seal.root):
            yield Finding("seal changed", where, "its values do not give its root")
        same_group = (seal.after_id, seal.up_to_id) == (self._after_id, self._up_to_id)
        if seal.after_id != self._up_to_id and not same_group:
            yield Finding("seal changed", where, "its rows do not begin where the others ended")
        self._after_id, self._up_to_id = seal.after_id, seal.up_to_id
        self.head = Head(seal.number, stored.root)
        published = self._heads.pop(seal.number, set())
        for root in published:
            if root == stored.root:
                self.agreeing += 1
            else:
                yield Finding(
                    "head differs",
                    where,
                    f"it was published as {root.hex()}, the database has {stored.root.hex()}: "
                    "rows up to this seal were written anew",
                )

    def end(self) -> Iterator[Finding]:
        """Yield the published heads for which there was no seal."""
        for number in sorted(self._heads):
            yield Finding(
                "head missing",
                f"seal {number}",
                f"it was published, the log ends with seal {self.head.number}: the end was cut "
                "off, or an older copy of the database was restored",
            )


def compare(
    group: Sequence[Seal], found: Sequence[Row], retired_us: int, before_us: int | None = None
) -> Iterator[Finding]:
    """Yield what is wrong with the rows of seals that cover the same ids.

    ``found`` are all rows with these ids. Rows of months that ended by ``retired_us`` may be gone.
    At ``before_us``, the end of a seal before, none of them was there.
    """
    leaves: dict[int, tuple[bytes, Seal]] = {}
    for seal in group:
        for i, number in enumerate(seal.ids):
            leaves[number] = (seal.leaves[HASH_BYTES * i : HASH_BYTES * (i + 1)], seal)
    seen: set[int] = set()
    wrong: list[Row] = []
    sealed = [row for row in found if _id(row) in leaves]
    yield from backdated(sealed, before_us, lambda number: _where(number, leaves))
    for row in found:
        number = _id(row)
        if number not in leaves:
            yield Finding(
                "row inserted", f"row {number}", "it was not there when its ids were sealed"
            )
        elif number in seen:
            yield Finding("row twice", _where(number, leaves), "another row has this id")
        elif leaf_hash(row) != leaves[number][0]:
            wrong.append(row)
        seen.add(number)
    yield from _wrong(wrong, leaves)
    for number, (_, seal) in leaves.items():
        if number not in seen and seal.month >= retired_us:
            yield Finding("row removed", _where(number, leaves), "it was sealed and is not there")


def end_of(group: Sequence[Seal], most_rows: int) -> int | None:
    """Return when the seals of one group were made, if all that was there was in them; else None.

    Behind a full one rows may have waited that came before it was made.
    """
    if sum(len(seal.ids) for seal in group) >= most_rows:
        return None
    return max(seal.sealed_at for seal in group)


def backdated(
    found: Iterable[Row], before_us: int | None, where: Callable[[int], str]
) -> Iterator[Finding]:
    """Yield rows that say they came long before ``before_us``, when smaller ids were sealed."""
    if before_us is None:
        return
    for row in found:
        received_us = int(row["received_at"] or 0)
        if received_us < before_us - BACKDATED_S * 1_000_000:
            yield Finding(
                "row backdated",
                where(_id(row)),
                f"it says that it came at {said(received_us)}, and was not there at "
                f"{said(before_us)}, when smaller ids were sealed: a superuser wrote it, unless "
                f"its transaction was open for over {BACKDATED_S:.0f} s or the clock was put back",
            )


def beyond(number: int) -> Finding:
    """Return the finding of a row whose id was never given out."""
    return Finding(
        "row inserted", f"row {number}", "its id was never given out: a superuser wrote it"
    )


def said(us: int) -> str:
    """Return microseconds since 2000 as text, whatever number a row has for a time."""
    try:
        return f"{from_us(us):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError):
        return "a time that there is not"


def _wrong(wrong: Sequence[Row], leaves: Mapping[int, tuple[bytes, Seal]]) -> Iterator[Finding]:
    """Tell rows that stand in each other's place from rows that say something else."""
    ids = [_id(row) for row in wrong[:MOST_COMPARED]]
    for row in wrong:
        number = _id(row)
        was = next((i for i in ids if leaf_hash({**row, "id": i}) == leaves[i][0]), None)
        if was is not None:
            yield Finding("row reordered", _where(number, leaves), f"it was sealed as row {was}")
        else:
            yield Finding("row changed", _where(number, leaves), "it is not as it was sealed")


def _where(number: int, leaves: Mapping[int, tuple[bytes, Seal]]) -> str:
    return f"row {number} (seal {leaves[number][1].number})"


def _id(row: Row) -> int:
    return int(row["id"] or 0)
