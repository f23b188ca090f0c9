"""The agent's configuration and `outrider agent check`: what is wrong is said with what to do."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from outrider import command
from outrider.configuration import ConfigError
from outrider.configuration import inbox as find_inbox
from outrider_agent import check, configuration, explain
from outrider_agent.configuration import AgentConfig, SourceConfig

SOURCE = '[[agent.source]]\npaths = ["/var/log/*.log"]\nservice = "s"\n'


def load(tmp_path: Path, text: str) -> configuration.Configuration:
    """Load a configuration file with this text."""
    file = tmp_path / "outrider.toml"
    file.write_text(text)
    return configuration.load(file, {"HOME": str(tmp_path)})


def test_defaults_need_no_file(tmp_path: Path) -> None:
    """Without a file the agent knows where everything is."""
    config = load(tmp_path, f'data_dir = "{tmp_path}"')

    assert config.state_dir == tmp_path / "agent"
    assert config.token_file == tmp_path / "collector" / "enroll.token"
    assert config.agent.collectors == ("127.0.0.1:4510",)
    assert config.agent.source == ()
    assert config.host


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[agent]\nstate_dri = 'x'", "did you mean `state_dir`?"),
        ("[agent]\nwindow_bytes = 'many'", "agent.window_bytes`: expected `int`"),
        (SOURCE + "format = 'jsno'", "unknown format `jsno`"),
        (SOURCE + "format = 'jsno'", "did you mean `json`?"),
        (SOURCE + "start = 'soon'", '"beginning", "end" or an age such as "1h"'),
        (SOURCE + "keep_severity = 'loud'\nwhen_full = 'drop_by_severity'", "no severity"),
        (SOURCE + "timezone = 'Mars/Base'", "unknown time zone `Mars/Base`"),
        (SOURCE.replace("/var", "var"), "no absolute path"),
        ("[[agent.source]]\npaths = ['/x']", "`agent.source[0].service` is missing"),
        ("[agent]\ncollectors = ['nowhere']", "no address"),
        ("[agent]\ncollectors = ['collector.example:4510']", "plain text only"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_remedy(
    tmp_path: Path, text: str, message: str
) -> None:
    """Unknown keys, wrong types and values that cannot be meant are errors of configuration."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)

    assert message in str(caught.value)
    assert "outrider.toml" in str(caught.value)


def test_the_inbox_is_configured_else_of_the_environment(tmp_path: Path) -> None:
    """The file decides, then $OUTRIDER_INBOX, then a `data_dir`; commands go by the same rule."""
    named = f'data_dir = "{tmp_path}"\n[agent]\n'
    cases: tuple[tuple[str, dict[str, str], str], ...] = (
        (f'{named}inbox = "/configured"', {"OUTRIDER_INBOX": "/environment"}, "/configured"),
        (named, {"OUTRIDER_INBOX": "/environment"}, "/environment"),
        (named, {}, f"{tmp_path}/inbox"),
    )
    file = tmp_path / "outrider.toml"
    for text, environ, expected in cases:
        file.write_text(text)
        assert configuration.load(file, environ).inbox == Path(expected)
        assert find_inbox(file, environ) == Path(expected)


def test_what_is_wrong_with_a_source_has_its_line(tmp_path: Path) -> None:
    """File, line and key, also of what only the agent can judge."""
    text = "[[agent.source]]\npaths = ['/x']\nservice = 's'\nformat = 'jsn'\n"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.where.endswith("outrider.toml:4: agent.source[0].format")


def test_every_key_is_documented() -> None:
    """The README's tables name each key of the agent and of a source, and no other."""
    text = (Path(__file__).parents[2] / "agent" / "README.md").read_text()
    tables = text.partition("## Configuration")[2].partition("## Files in")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", tables, re.MULTILINE))
    keys = {*AgentConfig.__struct_encode_fields__, *SourceConfig.__struct_encode_fields__}

    assert documented == keys - {"source", "probe", "expect"}


def test_every_format_is_documented() -> None:
    """The README names each format that `format` takes."""
    text = (Path(__file__).parents[2] / "agent" / "README.md").read_text()

    for name in configuration.FORMAT_NAMES:
        assert f"`{name}`" in text


def test_check_says_what_each_source_would_match(tmp_path: Path) -> None:
    """Files with size and format, what is excluded, and what needs a hand (exit code 3)."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.log").write_text('{"message":"x"}\n')
    (logs / "b.log").write_text("2026-11-24 20:02:31 ERROR x\n")
    (logs / "c.log").mkdir()
    (logs / "d.log").write_text("just words\n")
    (logs / "old.log.gz").write_bytes(b"\x1f\x8b")
    config = load(
        tmp_path,
        f'data_dir = "{tmp_path}"\n[agent]\ninbox = "{tmp_path}/inbox"\n'
        f'[[agent.source]]\npaths = ["{logs}/*"]\nexclude = ["*/d.*"]\nservice = "s"\n',
    )
    written: list[str] = []
    code = check.run(config, written.append)
    text = "".join(written)

    assert code == command.FOUND
    assert "3 files, 1 excluded, 1 compressed: " in text
    assert re.search(r"a\.log: 16 bytes, json", text)
    assert re.search(r"b\.log: 28 bytes, iso", text)
    assert "problem: " + str(logs / "c.log") + ": it is a directory" in text


def test_check_shows_what_a_source_leaves_out(tmp_path: Path) -> None:
    """Where a file begins and what goes when it is full, where the source says so."""
    config = load(
        tmp_path,
        f'data_dir = "{tmp_path}"\n'
        "[[agent.source]]\npaths = ['/x']\nservice = 's'\n"
        "[[agent.source]]\npaths = ['/y']\nservice = 't'\nstart = '1h'\nwhen_full = 'block'\n"
        "backlog_bytes = 1000\n",
    )
    written: list[str] = []
    check.run(config, written.append)
    text = "".join(written)

    assert "source 1     service s, format auto\n" in text
    assert "service t, format auto, start 1h, when_full block, backlog_bytes 1000\n" in text


def test_check_says_what_to_do(tmp_path: Path) -> None:
    """Each problem ends with what to do; what is merely not there yet is told and is none."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "file").write_text("")
    config = load(
        tmp_path,
        f'data_dir = "{tmp_path}"\n[agent]\ninbox = "{tmp_path}/file/inbox"\n'
        f'token_file = "{tmp_path}/secret"\n[[agent.source]]\nservice = "s"\n'
        f'paths = ["{tmp_path}/logs", "{tmp_path}/later/*.log", "{tmp_path}/logs/new.log"]\n',
    )
    written: list[str] = []
    code = check.run(config, written.append)
    text = "".join(written)

    let_it_write = "let the agent's account write there, or set `agent.inbox`"
    copy_the_token = "copy the collector's enroll.token there, readable, or set `agent.token_file`"
    assert code == command.FOUND
    assert re.findall(r"problem: (.*)", text) == [
        f"inbox: {tmp_path}/file/inbox: {tmp_path}/file is not a directory: {let_it_write}",
        f"token_file: {tmp_path}/secret: cannot be read: {copy_the_token}",
        f"{tmp_path}/logs: it is a directory: name the files in it, as in {tmp_path}/logs/*.log",
    ]
    assert f"{tmp_path}/later/*.log: 0 files: there is no directory {tmp_path}/later yet" in text
    assert f"{tmp_path}/logs/new.log: 0 files: none is there yet" in text


@pytest.mark.parametrize(
    "text",
    [
        'data_dir = "/a\\u0000b"\n',
        '[agent]\nstate_dir = "/a\\u0000b"\n',
        '[agent]\ninbox = "/a\\u0000b"\n',
        '[agent]\ntoken_file = "/a\\u0000b"\n',
        '[[agent.source]]\nservice = "s"\npaths = ["/a\\u0000b/*"]\n',
        '[[agent.source]]\nservice = "s"\npaths = ["/a/*"]\nexclude = ["/a\\u0000b"]\n',
    ],
)
def test_a_path_with_a_zero_byte_is_told(tmp_path: Path, text: str) -> None:
    """No file can have such a name: it is an error of the configuration, with its place."""
    with pytest.raises(ConfigError, match="zero byte") as caught:
        load(tmp_path, text)

    key = re.findall(r"(\w+) = \S*u0000", text)[0]
    assert key in str(caught.value)
    assert "\0" not in str(caught.value)


def ended(tmp_path: Path, action: str, *lines: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the agent that ends by itself."""
    file = tmp_path / "outrider.toml"
    file.write_text("\n".join((f'data_dir = "{tmp_path}"', *lines)))
    return subprocess.run(
        [sys.executable, "-m", "outrider.command", "agent", action, "--config", str(file)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_token_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """The agent ends with 2 and says what it is; the check tells it as well."""
    token = tmp_path / "agent" / "identity" / "token"
    token.mkdir(parents=True)
    run = ended(tmp_path, "run")
    checked = ended(tmp_path, "check")

    assert run.returncode == 2
    assert run.stderr.startswith("outrider: cannot read the agent's own token, is a directory")
    assert str(token) in run.stderr
    assert "remove it" in run.stderr
    assert checked.returncode == command.FOUND
    assert f"problem: token: {token}: is a directory: " in checked.stdout
    assert "Traceback" not in run.stderr + checked.stderr


def test_check_tells_of_a_damaged_token(tmp_path: Path) -> None:
    """Zeros are no token: the agent enrols anew, for which it needs the secret."""
    identity = tmp_path / "agent" / "identity"
    identity.mkdir(parents=True)
    (identity / "token").write_bytes(bytes(22))
    without = ended(tmp_path, "check", "[agent]", f'token_file = "{tmp_path}/secret"')
    (tmp_path / "secret").write_text("s")
    with_secret = ended(tmp_path, "check", "[agent]", f'token_file = "{tmp_path}/secret"')

    assert "enrolled     no: its token is damaged, it enrols anew with " in without.stdout
    assert "problem: token_file:" in without.stdout
    assert "problem: token_file:" not in with_secret.stdout


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """A regular file whose reads fail is told with what to do, and the check goes on."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.log").symlink_to("/proc/self/mem")
    (logs / "b.log").write_text("x\n")
    checked = ended(
        tmp_path, "check", "[[agent.source]]", f'paths = ["{logs}/*.log"]', 'service = "s"'
    )

    explained: list[str] = []
    config = configuration.load(tmp_path / "outrider.toml", {})
    explain.run(config, str(logs / "a.log"), explained.append)

    assert "now          input/output error: see to the disk" in "".join(explained)
    assert checked.returncode == command.FOUND, checked.stderr
    assert f"problem: {logs}/a.log: input/output error: " in checked.stdout
    assert f"{logs}/b.log: 2 bytes" in checked.stdout
    assert "Traceback" not in checked.stderr


def test_a_second_agent_says_who_holds_the_directory(tmp_path: Path) -> None:
    """Two agents on one state directory would fight: the second says so and ends with 2."""
    file = tmp_path / "outrider.toml"
    file.write_text(f'data_dir = "{tmp_path}"\n[agent]\ninbox = "{tmp_path}/inbox"\n')
    command = [sys.executable, "-m", "outrider.command", "agent", "run", "--config", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        # Its first words come when it is up: that there is no collector.
        assert "not connected to the collector" in first.stderr.readline()
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        first.terminate()
        assert first.wait(30) == 0

    assert second.returncode == 2
    assert f"another agent (process {first.pid}) uses this state directory" in second.stderr


def test_a_state_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """A file in the directory's place is a message and exit code 2, never a traceback."""
    (tmp_path / "agent").write_text("")
    file = tmp_path / "outrider.toml"
    file.write_text(f'data_dir = "{tmp_path}"\n')
    done = subprocess.run(
        [sys.executable, "-m", "outrider.command", "agent", "run", "--config", str(file)],
        capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ),
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr.startswith("outrider: cannot use the agent's state directory")
    assert "Traceback" not in done.stderr


def test_the_configuration_is_frozen() -> None:
    """Nothing changes a configuration after it was checked."""
    with pytest.raises(AttributeError):
        AgentConfig().host = "x"  # type: ignore[misc]
    assert msgspec.structs.asdict(AgentConfig())["window_bytes"] == 4 << 20
