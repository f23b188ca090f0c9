"""A segment's life from its writer's side: locks, taking over, names, an agent meanwhile."""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from outrider.inbox import descriptors, names, segment, slot
from outrider.inbox.segment import Segment, create, open_segment

if TYPE_CHECKING:
    from pathlib import Path


def lock(path: Path, kind: int) -> int | None:
    """Take a lock as an agent does; the descriptor, or None when it is refused."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def close(held: Segment) -> None:
    """End as a process does: the kernel closes, nothing unlocks."""
    descriptors.close(held.descriptor)
    descriptors.close(held.slot_descriptor)


def opened(inbox: Path, worker: str = "payments", *, numbered: bool = True) -> Segment:
    """Open a segment of the service payments."""
    return open_segment(inbox, "payments", worker, numbered=numbered)


def test_a_new_inbox_and_segment_have_their_modes(inbox: Path) -> None:
    """The inbox is setgid and sticky; files are for owner and group, whatever the umask is."""
    before = os.umask(0o077)
    try:
        held = opened(inbox)
    finally:
        os.umask(before)

    assert stat.S_IMODE(inbox.stat().st_mode) == 0o3770
    for path in inbox.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert held.path.name == held.name.filename
    assert not os.get_inheritable(held.descriptor)
    assert held.descriptor >= descriptors.HIGH


def test_the_lock_is_held_until_the_end(inbox: Path) -> None:
    """An agent cannot take the exclusive lock while the writer lives, and can at once after."""
    held = opened(inbox)
    assert lock(held.path, fcntl.LOCK_EX) is None
    close(held)

    taken = lock(held.path, fcntl.LOCK_EX)

    assert taken is not None
    os.close(taken)


def test_an_unlocked_segment_is_taken_over(inbox: Path) -> None:
    """The next process of the service goes on in the segment, with what its slot said."""
    first = opened(inbox)
    os.write(first.descriptor, b"line\n")
    os.pwrite(first.slot_descriptor, slot.pack(slot.Slot(pid=7, done=3)), 0)
    close(first)

    second = opened(inbox)

    assert second.path == first.path
    assert second.size_bytes == 5
    assert second.predecessor == slot.Slot(pid=7, done=3)
    assert not second.ends_torn
    assert len(list(inbox.glob("*.jsonl"))) == 1


def test_a_torn_end_is_noticed(inbox: Path) -> None:
    """A segment whose last record lacks its newline says so to who takes it over."""
    first = opened(inbox)
    os.write(first.descriptor, b"line\nhal")
    close(first)

    assert opened(inbox).ends_torn


def test_a_fifo_in_the_slots_place_holds_nobody_up(inbox: Path) -> None:
    """A slot that is no regular file is no slot: the segment is taken over without one."""
    first = opened(inbox)
    close(first)
    slot_path = first.path.with_suffix(".slot")
    slot_path.unlink()
    os.mkfifo(slot_path)

    second = opened(inbox)
    assert (second.path, second.slot_descriptor) == (first.path, -1)


def test_the_lowest_free_number_is_the_name(inbox: Path) -> None:
    """Living processes keep their names; the next is numbered; a name set free is used again."""
    one, two, three = (opened(inbox) for _ in range(3))
    assert [s.name.worker for s in (one, two, three)] == ["payments", "payments-2", "payments-3"]

    close(two)
    again = opened(inbox)

    assert again.path == two.path
    assert opened(inbox).name.worker == "payments-4"


def test_a_living_name_is_not_given_twice_though_it_left_a_segment(inbox: Path) -> None:
    """An old unlocked segment of a name whose owner lives on in another is not taken over."""
    old = opened(inbox)
    new = create(inbox, "payments", "payments")
    close(old)

    assert opened(inbox).name.worker == "payments-2"
    close(new)


def test_a_given_name_is_kept(inbox: Path) -> None:
    """A worker named by the program is not numbered; two of them have a segment each."""
    one, two = (opened(inbox, "w", numbered=False) for _ in range(2))

    assert one.name.worker == two.name.worker == "w"
    assert one.path != two.path


def test_other_services_and_full_segments_are_left_alone(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment of another service, or one that has grown to the limit, is not taken over."""
    other = open_segment(inbox, "orders", "payments", numbered=True)
    full = opened(inbox)
    os.write(full.descriptor, b"x" * 100)
    close(other)
    close(full)
    monkeypatch.setattr(segment, "MAX_BYTES", 100)

    assert opened(inbox).path not in {other.path, full.path}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_a_segment_of_another_user_is_left_alone(inbox: Path) -> None:
    """Only the own user's segments are taken over."""
    first = opened(inbox)
    close(first)
    os.chown(first.path, 12345, -1)

    assert opened(inbox).path != first.path


def test_links_directories_and_pipes_are_left_alone(inbox: Path, tmp_path: Path) -> None:
    """What only looks like a segment is neither followed nor waited for."""
    close(opened(inbox))
    for path in inbox.glob("*.jsonl"):
        path.unlink()
    target = tmp_path / "target"
    target.write_bytes(b"")
    link, pipe, directory = (
        inbox / names.SegmentName("payments", "payments", f"{i:016x}").filename for i in range(3)
    )
    link.symlink_to(target)
    os.mkfifo(pipe)
    directory.mkdir()

    held = opened(inbox)

    assert stat.S_ISREG(held.path.stat(follow_symlinks=False).st_mode)
    assert held.name.unique not in {f"{i:016x}" for i in range(3)}
    assert target.read_bytes() == b""


def test_a_slot_that_is_a_link_is_not_followed(inbox: Path, tmp_path: Path) -> None:
    """A slot planted as a symbolic link is done without; its target stays as it is."""
    first = opened(inbox)
    close(first)
    target = tmp_path / "target"
    target.write_text("precious")
    slot_path = first.path.with_suffix(".slot")
    slot_path.unlink()
    slot_path.symlink_to(target)

    second = opened(inbox)

    assert second.slot_descriptor == -1
    assert target.read_text() == "precious"


@pytest.mark.parametrize("moment", ["before the lock", "between the locks"])
@pytest.mark.parametrize("old", [True, False], ids=["taken over", "created"])
def test_an_agent_that_retires_at_the_worst_moment(
    inbox: Path, monkeypatch: pytest.MonkeyPatch, moment: str, *, old: bool
) -> None:
    """Where the agent moves the file between a writer's open and its lock, or between the exclusive
    and the shared one, the writer begins anew and loses nothing.
    """
    if old:
        close(opened(inbox))
    agents: list[int] = []

    def retire(path: Path) -> None:
        taken = lock(path, fcntl.LOCK_EX)
        if taken is not None:
            closing = inbox / "closing"
            closing.mkdir(exist_ok=True)
            path.rename(closing / path.name)
            agents.append(taken)

    def retire_all(_: str = "") -> None:
        for path in inbox.glob("*.jsonl"):
            if not agents:
                retire(path)

    if moment == "before the lock":
        monkeypatch.setattr(segment, "failpoint", retire_all)
    else:
        real = segment._lock

        def unlocking(descriptor: int, *, exclusive: bool) -> bool:
            if not exclusive and not agents:
                # The kernel drops the old lock before it takes the new one.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
                retire_all()
            return real(descriptor, exclusive=exclusive)

        monkeypatch.setattr(segment, "_lock", unlocking)
    held = opened(inbox)

    assert len(agents) == 1
    assert held.path.parent == inbox
    assert os.path.samestat(held.path.stat(), os.fstat(held.descriptor))
    assert lock(held.path, fcntl.LOCK_EX) is None
    os.close(agents[0])


def test_many_that_start_at_once_have_names_and_segments_of_their_own(inbox: Path) -> None:
    """Threads stand in for processes: flock knows open files, not processes."""
    close(opened(inbox))
    held: list[Segment] = []
    start = threading.Barrier(8)

    def run() -> None:
        start.wait()
        held.append(opened(inbox))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({s.path for s in held}) == 8
    assert {s.name.worker for s in held} == {"payments"} | {f"payments-{i}" for i in range(2, 9)}


def test_a_directory_lock_that_cannot_be_had_only_means_a_new_segment(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another process is stopped while it opens, nothing is taken over, nothing hangs."""
    first = opened(inbox)
    close(first)
    monkeypatch.setattr(segment, "_LOCK_TIMEOUT_S", 0.05)
    holder = lock(inbox, fcntl.LOCK_EX)
    assert holder is not None

    held = opened(inbox)

    assert held.path != first.path
    assert segment.open_next(inbox, held.name) is None
    os.close(holder)


def test_an_inbox_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    """The error is an OSError for the caller to tell, not something else."""
    (tmp_path / "inbox").write_text("")

    with pytest.raises(OSError):
        opened(tmp_path / "inbox")


def test_a_segment_whose_slot_had_no_room_is_left_to_the_agent(inbox: Path) -> None:
    """What its writer lost was never counted, which only the agent can tell: it stays as it is."""
    left = opened(inbox)
    slot_path = left.path.with_suffix(".slot")
    slot_path.write_bytes(b"")
    close(left)

    held = opened(inbox)

    assert held.path != left.path
    assert held.name.worker == left.name.worker
    assert slot_path.read_bytes() == b""
    close(held)
