"""Sequences by which the model of tailing once found lines stored twice, or that had no end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.agent.test_model import LOOK_S, READ_S, SAVED_S, Tailing

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.usefixtures("leases")


@pytest.fixture
def tailing() -> Iterator[Tailing]:
    """A machine that has begun; at the end every line must be accounted for, and none twice."""
    machine = Tailing()
    machine.begin()
    try:
        yield machine
    finally:
        machine.teardown()


def test_a_small_copy_of_what_was_truncated_is_marked_after_a_restart(tailing: Tailing) -> None:
    """Too few bytes prove nothing; the copy is read, and what the stream had of it is marked."""
    tailing.append("a.log", 5, partial=True)
    tailing.work(11.0)
    tailing._truncate("a.log", copied=True, lines=3)
    tailing.append("a.log", 3, partial=True)
    tailing.rotate_while_down("a.log", 2, in_order=True, connected=True)


def test_a_small_copy_is_marked_where_the_look_that_finds_it_comes_first(tailing: Tailing) -> None:
    """The file was replaced at its path as well: the copy is taken for one of its generations."""
    tailing.append("b.log", 2, partial=False)
    tailing.work(READ_S)
    tailing._truncate("b.log", copied=True, lines=30)
    tailing._rename("b.log", compressed=True)
    tailing.append("b.log", 3, partial=False)
    tailing.work(11.0)


def test_a_copy_is_known_by_what_was_read_and_not_sent_yet(tailing: Tailing) -> None:
    """A look between reading and sending takes the copy for no file of its own."""
    tailing.append("a.log", 10, partial=True)
    tailing.work(READ_S)
    tailing._truncate("a.log", copied=True, lines=8)
    tailing.rotate_often("a.log", 3)
    tailing.work(LOOK_S)


def test_a_copy_is_known_where_the_collector_goes_back_behind_a_truncation(
    tailing: Tailing,
) -> None:
    """A new session asks for bytes that are gone from the file; its copy has what is stored."""
    tailing.append("a.log", 2, partial=False)
    tailing.rotate_while_down("a.log", 2, in_order=False, connected=True)
    tailing.append("a.log", 3, partial=True)
    tailing.rotate_while_down("b.log", 4, in_order=False, connected=True)
    tailing.work(11.0)
    tailing._truncate("a.log", copied=True, lines=1)
    tailing.rotate_often("a.log", 3)
    tailing.append("b.log", 5, partial=True)


def test_what_ended_before_a_crash_is_not_taken_between_two_looks(tailing: Tailing) -> None:
    """What the cache has of files that were to end holds for a path that is rotated later, too."""
    tailing.append("a.log", 8, partial=True)
    tailing.rotate_while_down("a.log", 2, in_order=True, connected=False)
    tailing.work(SAVED_S)
    tailing.rotate_while_down("a.log", 4, in_order=True, connected=False)
    tailing.rotate_while_down("a.log", 4, in_order=True, connected=True)
    tailing.rotate_often("a.log", 3)
    tailing.work(11.0)
    tailing.rotate_while_down("a.log", 4, in_order=False, connected=False)
    tailing.rotate_often("a.log", 3)
    tailing.append("a.log", 0, partial=False)
    tailing.work(LOOK_S)
    tailing._rename("a.log", compressed=True)
    tailing.append("a.log", 2, partial=True)


def test_what_is_truncated_before_its_first_line_ended_is_a_new_stream(tailing: Tailing) -> None:
    """By the first bytes of the old content no later process would find its stream again."""
    tailing.append("b.log", 0, partial=True)
    tailing.work(SAVED_S)
    tailing._truncate("b.log", copied=False, lines=0)
    tailing.work(SAVED_S)
    tailing._truncate("b.log", copied=False, lines=30)
    tailing.rotate_while_down("a.log", 2, in_order=False, connected=True)


def test_the_loss_of_a_first_line_that_was_never_ended_is_told(tailing: Tailing) -> None:
    """What was written after it, and truncated before anybody read it, is a gap."""
    tailing.append("a.log", 0, partial=True)
    tailing.work(11.0)
    tailing.append("a.log", 2, partial=False)
    tailing._truncate("a.log", copied=False, lines=8)


def test_a_stream_that_ended_is_not_ended_again_where_its_birth_is_still_journalled(
    tailing: Tailing,
) -> None:
    """No room to forget the birth: the next process has it, and the collector has the end."""
    tailing.rotate_while_down("a.log", 2, in_order=False, connected=True)
    tailing.rotate_often("a.log", 2)
    tailing.end(in_order=False)
    tailing.start(connected=True)
    tailing.network(connected=False, lost=False)
    tailing.work(11.0)
    tailing.end(in_order=False)
    tailing.start(connected=True)
    tailing.disk(full=True)
    tailing.work(11.0)
    tailing.end(in_order=False)


def test_a_copy_that_is_shorter_than_the_line_that_was_begun_goes_on_in_its_stream(
    tailing: Tailing,
) -> None:
    """What was fed of a line that is in the file no more, and never in its copy, is forgotten."""
    tailing.append("a.log", 20, partial=False)
    tailing.work(11.0)
    tailing.append("a.log", 3, partial=True)
    tailing._copy(tailing.lives["a.log"].path)
    tailing._append(tailing.lives["a.log"], 0, partial=True, long=True)
    tailing.host.step(LOOK_S)
    tailing._truncate("a.log", copied=False, lines=3)
    tailing.work(11.0)

    assert not any(row.replayed for row in tailing.collector.database.rows)
    assert [gap.reason for _, gap in tailing.collector.database.gaps.values()] == ["copytruncate"]


def test_what_was_to_be_marked_is_marked_where_a_crash_came_before_it_was_sent(
    tailing: Tailing,
) -> None:
    """A file that grew after its end is read anew; without a session only the journal has that."""
    tailing.network(connected=True, lost=True)
    tailing.rotate_while_down("b.log", 4, in_order=False, connected=True)
    tailing.work(11.0)
    tailing.rotate_while_down("a.log", 4, in_order=False, connected=True)
    tailing.network(connected=True, lost=False)
    tailing.work(LOOK_S)
    tailing.network(connected=False, lost=True)
    late = tailing.rotated[2]
    late.destroyed, late.told = True, False
    tailing._append(late, 2, partial=False)
    tailing.work(LOOK_S)
    tailing.rotate_while_down("a.log", 4, in_order=False, connected=True)
