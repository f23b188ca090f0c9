"""The console script: one command, clear errors, fixed exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from outrider import command
from outrider.command import Command
from outrider.configuration import ConfigError
from outrider.errors import Fault


def done(argv: list[str]) -> int:
    """A command that works."""
    return len(argv)


def raising(argv: list[str]) -> int:
    """A command that fails in the way it is told to."""
    if argv[0] == "config":
        raise ConfigError("unknown key `x`", "a.toml:3", "did you mean `y`?")
    if argv[0] == "fault":
        raise Fault("STORE_DOWN", host="db")
    if argv[0] == "url":
        raise Fault("CONFIG_INVALID", detail="no URL: write one")
    if argv[0] == "sent":
        argv[1].encode()
    if argv[0] == "pipe":
        raise BrokenPipeError
    raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(command.COMMANDS, "done", Command(f"{__name__}:done", "works", "all"))
    monkeypatch.setitem(command.COMMANDS, "raise", Command(f"{__name__}:raising", "fails", "all"))
    monkeypatch.setitem(
        command.COMMANDS, "absent", Command("outrider_absent.cli:main", "is not there", "agent")
    )


def test_a_command_gets_its_arguments_and_gives_the_exit_code() -> None:
    """The function of a command gets what follows its name; its result is the exit code."""
    assert command.main(["done", "a", "b", "--c"]) == 3


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["raise", "config"], 2, "outrider: unknown key `x`: a.toml:3: did you mean `y`?\n"),
        (["raise", "url"], 2, "outrider: no URL: write one (CONFIG_INVALID)\n"),
        (["raise", "interrupt"], 130, ""),
        (["ruels"], 2, "outrider: unknown command: ruels: did you mean 'rules'?\n"),
        (["bogus"], 2, "outrider: unknown command: bogus: 'outrider --help' lists the commands\n"),
        (["zzzzz"], 2, "outrider: unknown command: zzzzz: 'outrider --help' lists the commands\n"),
        (["absent"], 2, ("outrider: package 'outrider_absent' is not installed: outrider absent:"
          " pip install '/path/to/the/clone[agent]'\n")),
    ],
)  # fmt: skip
def test_errors_are_one_line_and_a_code(
    argv: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a user can do something about is one line on standard error, never a traceback."""
    assert command.main(argv) == code
    assert capsys.readouterr().err == said


def test_what_an_error_quotes_cannot_act_on_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Keys, names and files come from outside: their escape sequences are shown, not sent."""
    assert command.main(["\x1b[2J\u202e"]) == 2
    assert capsys.readouterr().err.startswith("outrider: unknown command: \u241b[2J<U+202E>: ")


def test_an_argument_that_is_not_utf8_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes that are no UTF-8 reach Python as lone surrogates, which nothing can send or store."""
    assert command.main(["raise", "sent", "caf\udce9"]) == 2
    assert capsys.readouterr().err == (
        "outrider: not UTF-8: argument 2 of 'outrider raise': write it in UTF-8\n"
    )


def test_a_fault_is_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """A fault ends with 1 and tells its text, reason and particulars."""
    assert command.main(["raise", "fault"]) == 1
    assert capsys.readouterr().err.endswith("(STORE_DOWN: host=db)\n")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """--help shows each command with its sentence; without arguments that is a usage error."""
    assert command.main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, entry in command.COMMANDS.items():
        assert f"  {name} " in text
        assert entry.summary in text
    assert command.main([]) == 2


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version prints name and version."""
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"outrider {command.version()}\n"


def test_a_closed_pipe_is_no_failure() -> None:
    """`outrider ... | head` ends quietly."""
    code = (
        "from outrider import command; import tests.sdk.test_command as t;"
        "command.COMMANDS['r'] = command.Command('tests.sdk.test_command:raising', '', 'all');"
        "raise SystemExit(command.main(['r', 'pipe']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, b"")


def test_nothing_of_other_parts_is_imported_for_help() -> None:
    """The command line starts without loading gRPC, psycopg or any other part."""
    code = (
        "import sys; from outrider import command; command.main(['--help']);"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('grpc', 'psycopg', 'msgspec') or"
        " m.startswith('outrider_')]; raise SystemExit(str(bad) if bad else 0)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        == 0
    )


@pytest.mark.parametrize("name", list(command.COMMANDS))
def test_every_command_exists(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command of the table has its function, which answers --help."""
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(command.main([name, "--help"]))
    assert ended.value.code in {0, None}
    assert "usage" in capsys.readouterr().out.lower()
