"""`outrider run`: the output logged, the end a record and a state, the exit code the child's."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from outrider.inbox import slot
from outrider_agent.own_log import OwnLog
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def command(*arguments: str) -> list[str]:
    """Return the command line of `outrider run`."""
    return [sys.executable, "-m", "outrider.command", "run", *arguments]


def run(inbox: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `outrider run` to its end."""
    return subprocess.run(
        command(*arguments),
        env={**os.environ, "OUTRIDER_INBOX": str(inbox)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def records(inbox: Path) -> list[dict[str, Any]]:
    """Return all records of the inbox's one segment."""
    (path,) = inbox.glob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def said(inbox: Path) -> slot.Slot:
    """Return what the segment's slot says."""
    (path,) = inbox.glob("*.slot")
    found = slot.unpack(path.read_bytes())
    assert found is not None
    return found


def logged(inbox: Path, words: bytes) -> bool:
    """Whether a segment has these words by now."""
    return any(words in path.read_bytes() for path in inbox.glob("*.jsonl"))


def test_output_becomes_records(tmp_path: Path) -> None:
    """Lines of both streams are records in their order, with their stream and their level."""
    script = (
        "echo plain; echo '2026-11-24 20:02:31 ERROR loud' >&2; "
        """echo '{"message":"json","level":"warn"}'; printf unfinished"""
    )
    done = run(tmp_path, "--service", "s", "--worker", "w", "--", "sh", "-c", script)

    assert done.returncode == 0
    assert done.stdout == """plain\n{"message":"json","level":"warn"}\nunfinished"""
    assert done.stderr.endswith("2026-11-24 20:02:31 ERROR loud\n")
    found = {record["message"]: record for record in records(tmp_path)}
    assert found["plain"]["attributes"] == {"stream": "stdout"}
    assert found["loud"]["severity"] == 17
    assert found["loud"]["attributes"]["stream"] == "stderr"
    assert found["json"]["level"] == "warn"
    assert all("ts" in record for record in found.values())
    assert found["unfinished"]["attributes"]["outrider.partial"] is True
    events = [record["event"] for record in records(tmp_path) if "event" in record]
    assert events == ["worker.started", "worker.stopped"]
    assert next(tmp_path.glob("*.jsonl")).name.startswith("s~w~")


def test_a_traceback_is_one_error_before_the_end(tmp_path: Path) -> None:
    """What a program dies of is one record of severity error, chained or not, and then its end."""
    script = "try:\n  1/0\nexcept ZeroDivisionError:\n  raise ValueError('why')"
    done = run(tmp_path, "--service", "s", "--", sys.executable, "-c", script)

    assert done.returncode == 1
    _, crash, end = records(tmp_path)
    assert crash["severity"] == 17
    assert crash["message"].startswith("Traceback")
    assert "ZeroDivisionError: division by zero" in crash["message"]
    assert crash["message"].endswith("ValueError: why")
    assert end["event"] == "worker.crashed"


@pytest.mark.parametrize(
    ("script", "code", "event", "note"),
    [
        ("exit 0", 0, "worker.stopped", "exit:0"),
        ("exit 3", 3, "worker.crashed", "exit:3"),
        ("kill -9 $$", 137, "worker.killed", "signal:9"),
        ("kill -11 $$", 139, "worker.killed", "signal:11"),
    ],
)
def test_the_end_is_a_record_and_a_state(
    tmp_path: Path, script: str, code: int, event: str, note: str
) -> None:
    """Exit code or signal are in the record, in the slot, and in our own exit code."""
    done = run(tmp_path, "--service", "s", "--", "sh", "-c", script)

    assert done.returncode == code
    last = records(tmp_path)[-1]
    assert last["event"] == event
    assert {"pid", "cpu_s", "max_rss_bytes"} < set(last["attributes"])
    assert said(tmp_path).note == note
    assert said(tmp_path).flags & slot.ENDED


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    """A message that says what to do, 127 as a shell would, and no worker: none has died."""
    done = run(tmp_path, "--service", "s", "--", "/no/such/command")

    assert done.returncode == 127
    said_so = done.stderr.splitlines()[-1]
    assert said_so.startswith("outrider: cannot run, no such file or directory: /no/such")
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_the_system_refuses(tmp_path: Path) -> None:
    """What shows only when it is started is 126 and an error in the log, but no death."""
    program, inbox = tmp_path / "program", tmp_path / "inbox"
    program.write_bytes(b"\x7fELF neither")
    program.chmod(0o755)
    done = run(inbox, "--service", "s", "--", str(program))

    assert done.returncode == 126
    assert "outrider: cannot run, exec format error: " in done.stderr
    (record,) = records(inbox)
    assert (record["event"], record["severity"]) == ("app.not_started", 17)
    assert not said(inbox).died
    assert said(inbox).note == ""


def test_a_configuration_that_cannot_be_used_does_not_stop_the_work(tmp_path: Path) -> None:
    """It is said, and the command runs all the same, logged into the usual inbox."""
    inbox = tmp_path / "inbox"
    done = run(inbox, "--service", "s", "--config", str(tmp_path / "none"), "--", "echo", "hi")

    assert (done.returncode, done.stdout) == (0, "hi\n")
    assert "cannot read the file, no such file or directory" in done.stderr
    assert str(inbox) in done.stderr
    assert "hi" in {one["message"] for one in records(inbox)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_passed_on(tmp_path: Path, number: signal.Signals) -> None:
    """A signal reaches the child, which may end in its own way; its words are recorded."""
    script = (
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: (print('got it', flush=True), sys.exit(5)))\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        command("--service", "s", "--", sys.executable, "-c", script),
        env={**os.environ, "OUTRIDER_INBOX": str(tmp_path)},
        stdin=subprocess.DEVNULL,
    )
    wait_until(lambda: logged(tmp_path, b"ready"))
    process.send_signal(number)

    assert process.wait(30) == 5
    assert [r["message"] for r in records(tmp_path)][-2:] == ["got it", "exited with code 5"]


def test_a_requested_stop_is_no_crash(tmp_path: Path) -> None:
    """A child that ends by the very signal that was passed on has stopped, as it was asked to."""
    process = subprocess.Popen(
        command("--service", "s", "--", "sleep", "60"),
        env={**os.environ, "OUTRIDER_INBOX": str(tmp_path)},
        stdin=subprocess.DEVNULL,
    )
    wait_until(lambda: logged(tmp_path, b"worker.started"))
    process.send_signal(signal.SIGTERM)

    assert process.wait(30) == 128 + 15
    last = records(tmp_path)[-1]
    assert (last["event"], last["attributes"]["signal"]) == ("worker.stopped", "SIGTERM")


def test_work_goes_on_without_an_inbox(tmp_path: Path) -> None:
    """Where nothing can be recorded the child runs all the same, its output passed on."""
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    done = run(nowhere, "--service", "s", "--", "sh", "-c", "echo out; echo err >&2; exit 3")

    assert (done.returncode, done.stdout) == (3, "out\n")
    assert "the inbox cannot be used" in done.stderr
    assert done.stderr.endswith("err\n")


def test_quiet_shows_nothing_of_the_output(tmp_path: Path) -> None:
    """With --quiet the output is in the records alone."""
    done = run(tmp_path, "--quiet", "--service", "s", "--", "sh", "-c", "echo out; echo err >&2")

    assert done.stdout == ""
    assert "err\n" not in done.stderr
    assert {"out", "err"} <= {r["message"] for r in records(tmp_path)}


@pytest.mark.parametrize("ending", ["| head -n 1", ">&-", "> /dev/full"])
def test_a_reader_that_went_does_not_end_the_worker(tmp_path: Path, ending: str) -> None:
    """Whatever becomes of our standard output, the worker goes on and is recorded."""
    script = "for i in $(seq 200); do echo line $i; sleep 0.001; done"
    line = shlex.join(command("--service", "s", "--", "sh", "-c", script))
    done = subprocess.run(
        ["sh", "-c", f"{{ {line}; echo code $? >&2; }} {ending}"],
        env={**os.environ, "OUTRIDER_INBOX": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert "code 0" in done.stderr
    messages = [r["message"] for r in records(tmp_path)]
    assert messages[1:-1] == [f"line {i}" for i in range(1, 201)]
    assert messages[-1] == "exited with code 0"


def test_an_inbox_without_an_agent_is_said_once(tmp_path: Path) -> None:
    """Whoever logs where no agent reads learns where that is and what to set; else nothing."""
    done = run(tmp_path, "--service", "s", "--", "true")
    (said_so,) = done.stderr.splitlines()
    assert said_so.startswith(f"outrider: no agent reads the inbox now: {tmp_path}: ")
    assert "OUTRIDER_INBOX" in said_so

    agents = OwnLog(tmp_path, "here")
    agents.start()
    try:
        assert run(tmp_path, "--service", "s", "--", "true").stderr == ""
    finally:
        agents.end()


def test_the_childs_own_records_are_the_workers(tmp_path: Path) -> None:
    """A child with the SDK, and a process that it starts, are the worker that the wrapper names."""
    nested = "import outrider; outrider.get_logger('n').info('nested')"
    program = (
        "import outrider, subprocess, sys; outrider.init('own', 'name'); "
        "outrider.get_logger('c').info('direct'); "
        f"subprocess.run([sys.executable, '-c', {nested!r}], check=True)"
    )
    done = run(tmp_path, "--service", "s", "--worker", "w", "--", sys.executable, "-c", program)

    assert done.returncode == 0
    paths = list(tmp_path.glob("*.jsonl"))
    assert {tuple(path.name.split("~")[:2]) for path in paths} == {("s", "w")}
    messages = [json.loads(x)["message"] for p in paths for x in p.read_text().splitlines()]
    assert {"direct", "nested", "exited with code 0"} <= set(messages)
    assert done.stderr.count("\n") == 1


def test_a_grandchild_that_keeps_the_pipe_does_not_keep_us(tmp_path: Path) -> None:
    """The worker's end is the end, whoever still holds its output."""
    began = time.monotonic()
    done = run(tmp_path, "--service", "s", "--", "sh", "-c", "sleep 20 & exit 2")

    assert done.returncode == 2
    assert time.monotonic() - began < 10


def test_usage_says_what_is_missing(tmp_path: Path) -> None:
    """Without a command, or with a mistyped option, it is exit code 2 and a hint."""
    done = run(tmp_path, "--service", "s")
    mistyped = run(tmp_path, "--servce", "s", "--", "true")

    assert (done.returncode, mistyped.returncode) == (2, 2)
    assert "no command given: write it after --" in done.stderr
    assert "unknown option --servce: did you mean --service?" in mistyped.stderr
