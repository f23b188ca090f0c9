"""The collector's configuration and command."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from outrider import command
from outrider.configuration import ConfigError
from outrider_collector import config
from outrider_collector.service.tokens import token_file
from tests.collector.service.running import ask

if TYPE_CHECKING:
    from pathlib import Path


def written(path: Path, text: str) -> str:
    """Path of a configuration file with that text."""
    file = path / "outrider.toml"
    file.write_text(text)
    return str(file)


def test_defaults_need_no_file(tmp_path: Path) -> None:
    """Without a file everything has its documented default."""
    loaded = config.load(written(tmp_path, ""), {})

    assert loaded.collector.listen == "127.0.0.1:4510"
    assert loaded.collector.memory_bytes == 256 << 20
    assert loaded.retention.app.text == "30d"
    assert loaded.store.compact
    assert {c.label: kept.days for c, kept in loaded.retention.by_class().items()} == {
        "debug": 3, "app": 30, "ops": 30, "security": 400, "audit": 400,
    }  # fmt: skip
    assert loaded.collector_name == f"{socket.gethostname()}:4510"


def test_reading_it_loads_no_kind_of_probe_that_is_not_configured(tmp_path: Path) -> None:
    """Every command reads the configuration: it waits for no gRPC and no HTTP client."""
    code = (
        "import sys; from outrider_collector import config; config.load(sys.argv[1], {});"
        "print(*{'grpc', 'google.protobuf', 'http.client'} & sys.modules.keys())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, written(tmp_path, "")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout.split() == []


def test_room_and_quotas_are_read_as_people_write_them(tmp_path: Path) -> None:
    """Without a word the disk is the budget; "off" means that nothing is done for room."""
    text = """
        [store]
        disk_budget = "200GB"
        [store.quota]
        default = "2GB/day"
        services = { trading = "1.5TB/day" }
    """
    store = config.load(written(tmp_path, text), {}).store

    assert store.wanted() == (200 * 10**9, False)
    assert store.quota.quota().of("trading") == 1_500 * 10**9
    assert store.quota.quota().of("bots") == 2 * 10**9
    assert config.StoreConfig().wanted() == (None, False)
    assert config.StoreConfig(disk_budget="off").wanted() == (None, True)
    assert not config.StoreConfig().quota.quota().is_set


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('disk_budget = "200"', "`store.disk_budget`: `200` is not a size, write it"),
        ('disk_budget = "0GB"', "`store.disk_budget` is at least 32MB"),
        ('quota = { default = "2GB" }', "is no quota, write it like 2GB/day"),
        ('quota = { services = { a = "2/day" } }', "is not a size"),
    ],
)
def test_a_budget_that_cannot_be_read_names_its_line(tmp_path: Path, line: str, words: str) -> None:
    """Nothing is guessed where it would cost data."""
    with pytest.raises(ConfigError, match=words) as told:
        config.load(written(tmp_path, f"[store]\n{line}"), {})
    assert told.value.where.rpartition(":")[2] in {"1", "2"}


@pytest.mark.parametrize("listen", ["127.0.0.1:1", "localhost:1", "[::1]:1", "127.9.9.9:0"])
def test_loopback_addresses_are_accepted(tmp_path: Path, listen: str) -> None:
    """Every form of loopback may be listened on."""
    loaded = config.load(written(tmp_path, f'[collector]\nlisten = "{listen}"'), {})

    assert loaded.collector.listen == listen


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[collector]\nlisten = "0.0.0.0:4510"', ["other hosts", "plain text"]),
        ('[collector]\nlisten = "10.0.0.5:4510"', ["other hosts"]),
        ('[collector]\nlisten = "4510"', ["host:port"]),
        ('[collector]\nlisten = "127.0.0.1:99999"', ["host:port"]),
        ('[collector]\nlissen = "x"', [":2", "collector.lissen", "did you mean `listen`"]),
        ('[collector]\nmemory_bytes = "1"', [":2", "memory_bytes", "int"]),
        ("[collector]\nmemory_bytes = 5", [":2", "memory_bytes"]),
        ('[collector]\nheartbeat_interval = "soon"', [":2", "heartbeat_interval", "duration"]),
        ("[retention]\napp = 30", [":2", "retention.app"]),
        ('[store]\ncompact_after = "5s"', ["compact_after", "1m"]),
        ("[store]\ncompact_share = 0", [":2", "compact_share"]),
    ],
)
def test_mistakes_name_place_and_remedy(tmp_path: Path, text: str, words: list[str]) -> None:
    """A wrong key or value is an error that says where and what."""
    with pytest.raises(ConfigError) as error:
        config.load(written(tmp_path, text), {})

    assert all(word in str(error.value) for word in words), str(error.value)


def test_token_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """The first start makes a token that only the collector's account can read; others find it."""
    first = token_file(tmp_path / "collector", "enroll.token")
    second = token_file(tmp_path / "collector", "enroll.token")

    assert first == second
    assert len(first) >= 43
    mode = (tmp_path / "collector/enroll.token").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600
    assert [p.name for p in (tmp_path / "collector").iterdir()] == ["enroll.token"]


def test_check_finds_what_would_keep_a_collector_from_running(
    tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`check` is silent success, or names each obstacle and exits with 3."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        text = f'[database]\nurl = "{database_url}"\n[collector]\nlisten = "127.0.0.1:{port}"'
        file = written(tmp_path, text)
        assert command.main(["collector", "--config", file, "check"]) == 3
        assert f"cannot listen on 127.0.0.1:{port}" in capsys.readouterr().out

    assert command.main(["collector", "check", "--config", file]) == 0


def test_revoke_withdraws_access(
    tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`revoke` marks the agent; an unknown one is told."""
    file = written(tmp_path, f'[database]\nurl = "{database_url}"')
    ((agent,),) = ask(
        database_url, "insert into agents (host, token_hash) values ('h', 'x') returning id"
    )
    assert command.main(["collector", "--config", file, "revoke", str(agent)]) == 0
    assert ask(database_url, "select 1 from agents where revoked_at is not null")

    assert command.main(["collector", "--config", file, "revoke", "99999"]) == 1
    assert "there is no agent 99999" in capsys.readouterr().err
