"""Whatever ends a process, every record whose call returned is in the inbox, whole, once."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from outrider.inbox import slot
from tests.sdk.conftest import read_records

if TYPE_CHECKING:
    from pathlib import Path

PRELUDE = """
import multiprocessing, os, signal, subprocess, sys, threading
import outrider

def write(name, n):
    log = outrider.get_logger("t")
    for i in range(n):
        log.info("%s %d", name, i)

"""
MAIN = "\nif __name__ == '__main__':\n"

N = 300


def run(
    tmp_path: Path, main: str, functions: str = "", *, code: int | None = None, **environ: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a program of the prelude, functions and a main part."""
    program = tmp_path / "program.py"
    program.write_text(
        PRELUDE + textwrap.dedent(functions) + MAIN + textwrap.indent(textwrap.dedent(main), "    ")
    )
    ended = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, **environ},
    )
    assert code is None or ended.returncode == code, ended.stderr.decode()
    return ended


def numbers(inbox: Path, name: str) -> list[int]:
    """The numbers written under a name, in the order of the file."""
    found = [re.fullmatch(rf"{name} (\d+)", r["message"]) for r in read_records(inbox)]
    return [int(match[1]) for match in found if match]


def events(inbox: Path) -> list[str]:
    """The events of the life of processes, in the order of the files."""
    return [r["event"] for r in read_records(inbox) if r.get("event", "").startswith("worker.")]


def slots(inbox: Path) -> list[slot.Slot]:
    """All slots."""
    return [s for p in sorted(inbox.glob("*.slot")) if (s := slot.unpack(p.read_bytes()))]


@pytest.mark.parametrize(
    ("ending", "code", "clean"),
    [
        ("pass", 0, True),
        ("sys.exit(3)", 3, True),
        ("os._exit(0)", 0, False),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9, False),
        ("os.kill(os.getpid(), signal.SIGTERM)", -15, False),
        ("os.abort()", -6, False),
        ("os.kill(os.getpid(), signal.SIGINT)", -2, True),
    ],
)
def test_every_returned_record_survives(
    tmp_path: Path, inbox: Path, ending: str, code: int, *, clean: bool
) -> None:
    """Return, exit, _exit, signals, abort: all records are there, and the slot tells which."""
    run(tmp_path, f"outrider.init('s')\nwrite('a', {N})\n{ending}", code=code)

    assert numbers(inbox, "a") == list(range(N))
    assert events(inbox) == ["worker.started", *(["worker.stopped"] if clean else [])]
    assert [s.died for s in slots(inbox)] == [not clean]


def test_an_unhandled_exception_is_the_last_word(tmp_path: Path, inbox: Path) -> None:
    """A crash is a record with type, message and stack trace; it counts as told, not as clean."""
    run(tmp_path, f"outrider.init('s')\nwrite('a', {N})\nraise ValueError('boom')", code=1)

    assert numbers(inbox, "a") == list(range(N))
    assert events(inbox) == ["worker.started", "worker.crashed"]
    crash = read_records(inbox)[-1]
    assert crash["severity"] == 21
    assert crash["attributes"]["exception"]["type"] == "ValueError"
    assert "raise ValueError('boom')" in crash["attributes"]["exception"]["stacktrace"]
    assert slots(inbox)[0].flags == slot.DEATH_RECORDED


@pytest.mark.parametrize("ending", ["pass", "os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_children(tmp_path: Path, inbox: Path, method: str, ending: str) -> None:
    """Children write to segments of their own under the next names; a child that returns has ended
    clean, though multiprocessing runs no exit functions.
    """
    run(
        tmp_path,
        f"""
        outrider.init('s')
        children = [multiprocessing.get_context('{method}').Process(target=child, args=(c,))
                    for c in 'bc']
        for c in children: c.start()
        write('a', {N})
        for c in children: c.join()
        """,
        f"""
        def child(name):
            outrider.init('s')
            write(name, {N})
            {ending}
        """,
        code=0,
    )

    for name in "abc":
        assert numbers(inbox, name) == list(range(N))
    # A child that starts late may go on in the segment that an early one has left.
    workers = {p.name.split("~")[1] for p in inbox.glob("*.jsonl")}
    assert {"s", "s-2"} <= workers <= {"s", "s-2", "s-3"}
    told = events(inbox)
    assert told.count("worker.started") == 3
    assert told.count("worker.stopped") == (3 if ending == "pass" else 1)


def test_a_forked_child_that_only_logs(tmp_path: Path, inbox: Path) -> None:
    """After os.fork parent and child write on, without init in the child; neither disturbs the
    other, and the child names its parent.
    """
    run(
        tmp_path,
        f"""
        outrider.init('s')
        write('before', {N})
        if os.fork() == 0:
            write('child', {N})
            os._exit(0)
        write('parent', {N})
        os.wait()
        """,
        code=0,
    )

    for name in ("before", "child", "parent"):
        assert numbers(inbox, name) == list(range(N))
    started = [r["attributes"] for r in read_records(inbox) if r.get("event") == "worker.started"]
    assert sorted("parent_pid" in s for s in started) == [False, True]


def test_forks_while_threads_log(tmp_path: Path, inbox: Path) -> None:
    """Children forked in the middle of other threads' writes neither hang nor lose anything."""
    run(
        tmp_path,
        """
        outrider.init('s')
        threads = [threading.Thread(target=write, args=(f't{i}', 400)) for i in range(3)]
        for t in threads: t.start()
        for i in range(8):
            if os.fork() == 0:
                write(f'c{i}', 20)
                os._exit(0)
        for t in threads: t.join()
        for i in range(8): os.wait()
        """,
        code=0,
    )

    for i in range(3):
        assert numbers(inbox, f"t{i}") == list(range(400))
    for i in range(8):
        assert numbers(inbox, f"c{i}") == list(range(20))


def test_a_living_child_does_not_hold_the_parents_lock(tmp_path: Path, inbox: Path) -> None:
    """The parent's death is seen at once though its forked child lives on and logs."""
    program = tmp_path / "program.py"
    program.write_text(
        PRELUDE
        + textwrap.dedent("""
        outrider.init('s')
        write('a', 1)
        if os.fork() == 0:
            write('b', 1)
            print('ready', flush=True)
            sys.stdin.read()
            os._exit(0)
        os.wait()
        """)
    )
    parent = subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdin and parent.stdout
    assert parent.stdout.readline() == b"ready\n"
    parent.kill()
    parent.wait()

    states = {p.name.split("~")[1]: _unlocked(p) for p in inbox.glob("*.jsonl")}

    assert states == {"s": True, "s-2": False}
    parent.stdin.close()
    assert parent.stdout.read() == b""  # ends when the child has
    parent.stdout.close()


def _unlocked(path: Path) -> bool:
    import fcntl

    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@pytest.mark.parametrize(
    "start",
    [
        "subprocess.run([sys.executable, '-c', code], close_fds=False, check=True)",
        "os.execv(sys.executable, [sys.executable, '-c', code])",
    ],
)
def test_programs_started_by_exec(tmp_path: Path, inbox: Path, start: str) -> None:
    """An exec closes the segment: what runs after it opens its own, or takes the free one over."""
    run(
        tmp_path,
        f"""
        code = open(__file__).read().split('if __name__')[0] + "outrider.init('s'); write('b', {N})"
        outrider.init('s')
        write('a', {N})
        {start}
        """,
        code=0,
    )

    assert numbers(inbox, "a") == list(range(N))
    assert numbers(inbox, "b") == list(range(N))


def test_kill_at_random_moments(tmp_path: Path, inbox: Path) -> None:
    """Killed from outside in the middle of anything, no record that was reported written is missing
    and every line but a torn last one is whole.
    """
    program = tmp_path / "program.py"
    program.write_text(
        PRELUDE
        + textwrap.dedent("""
        outrider.init('s')
        log, name = outrider.get_logger('t'), sys.argv[1]
        for i in range(10**9):
            log.info("%s %d", name, i)
            os.write(1, b"%d\\n" % i)
        """)
    )
    for turn in range(8):
        process = subprocess.Popen(
            [sys.executable, str(program), f"n{turn}"], stdout=subprocess.PIPE
        )
        assert process.stdout
        for _ in range(random.randrange(1, 400)):
            process.stdout.readline()
        process.kill()
        reported = process.stdout.read().split(b"\n")
        process.wait()
        process.stdout.close()
        last = max((int(line) for line in reported[:-1]), default=0)
        written = numbers(inbox, f"n{turn}")
        assert written == list(range(len(written)))
        assert len(written) > last

    told = events(inbox)
    assert len(list(inbox.glob("*.jsonl"))) == 1
    assert told == ["worker.started"] + ["worker.died", "worker.started"] * 7


def test_a_process_a_second_is_not_a_stream_a_second(tmp_path: Path, inbox: Path) -> None:
    """Processes one after the other share one segment and one name."""
    for i in range(4):
        run(tmp_path, f"outrider.init('cron')\nwrite('p{i}', 3)", code=0)

    assert len(list(inbox.glob("*.jsonl"))) == 1
    assert events(inbox) == ["worker.started", "worker.stopped"] * 4


@pytest.mark.parametrize("old", [True, False], ids=["taking over", "creating"])
def test_killed_between_open_and_lock(tmp_path: Path, inbox: Path, *, old: bool) -> None:
    """A process that dies between opening a segment and locking it leaves nothing that disturbs."""
    if old:
        run(tmp_path, "outrider.init('s')\nwrite('a', 2)", code=0)
    run(tmp_path, "outrider.init('s')", code=-9, OUTRIDER_FAILPOINTS="open/flock=kill")
    run(tmp_path, "outrider.init('s')\nwrite('b', 2)", code=0)

    assert numbers(inbox, "b") == [0, 1]
    assert events(inbox).count("worker.died") == 0


def test_an_unusable_inbox_sends_records_to_standard_error(tmp_path: Path, inbox: Path) -> None:
    """One line says what is wrong and what to do; records are on standard error, nothing raises."""
    inbox.write_text("a file is in the way")

    ended = run(tmp_path, "outrider.init('s')\nwrite('a', 3)\noutrider.progress(done=1)", code=0)

    lines = ended.stderr.decode().splitlines()
    assert lines[0].startswith("outrider: the inbox cannot be used, file exists: ")
    assert [line.startswith('{"ts":') for line in lines] == [False, True, True, True]


def test_a_full_disk_under_the_inbox(tmp_path: Path, inbox: Path) -> None:
    """Past the largest file the system allows, records are counted; the program runs on."""
    ended = run(
        tmp_path,
        f"""
        import resource
        outrider.init('s')
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        write('a', {N})
        print('survived')
        """,
        code=0,
    )

    assert ended.stdout == b"survived\n"
    (path,) = inbox.glob("*.jsonl")
    written = [int(n) for n in re.findall(rb'"a (\d+)"}\n', path.read_bytes())]
    assert written == list(range(len(written)))
    # The record of the end finds no room either.
    assert slots(inbox)[0].dropped == N - len(written) + 1
    assert ended.stderr.count(b"outrider: record not written") == 1


def test_a_daemon_that_closes_everything(tmp_path: Path, inbox: Path) -> None:
    """A program that closes all descriptors to become a daemon logs on, into no file of its own."""
    run(
        tmp_path,
        f"""
        outrider.init('s')
        write('a', {N})
        os.closerange(3, 5000)
        mine = [open(f'{{sys.argv[0]}}.{{i}}', 'w') for i in range(20)]
        write('b', {N})
        """,
        code=0,
    )

    assert numbers(inbox, "a") == numbers(inbox, "b") == list(range(N))
    assert all(not p.read_bytes() for p in tmp_path.glob("program.py.*"))


def test_logging_in_a_signal_handler(tmp_path: Path, inbox: Path) -> None:
    """Records from a signal handler, in the middle of other records, are whole."""
    run(
        tmp_path,
        f"""
        outrider.init('s')
        signal.signal(signal.SIGALRM, lambda *_: outrider.get_logger('h').info('tick'))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        write('a', {N * 10})
        signal.setitimer(signal.ITIMER_REAL, 0)
        """,
        code=0,
    )

    assert numbers(inbox, "a") == list(range(N * 10))


def test_a_stopped_process_keeps_its_segment(tmp_path: Path, inbox: Path) -> None:
    """SIGSTOP is no death: the lock stays, the next process has another name."""
    program = tmp_path / "program.py"
    program.write_text(
        PRELUDE + "\noutrider.init('s'); print('up', flush=True); sys.stdin.read()\n"
    )
    process: subprocess.Popen[Any] = subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout and process.stdin
    process.stdout.readline()
    process.send_signal(signal.SIGSTOP)
    assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])

    run(tmp_path, "outrider.init('s')\nwrite('b', 1)", code=0)

    assert {p.name.split("~")[1] for p in inbox.glob("*.jsonl")} == {"s", "s-2"}
    process.send_signal(signal.SIGCONT)
    process.communicate()
