"""Where the dashboard listens, and its command."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import msgspec
import pytest

from outrider import command
from outrider.configuration import ConfigError
from outrider_dashboard.config import DashboardConfig, listen_address

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("127.0.0.1:4580", ("127.0.0.1", 4580)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:4580", ("::1", 4580)),
        ("127.8.8.8:1", ("127.8.8.8", 1)),
    ],
)
def test_loopback_is_accepted(listen: str, address: tuple[str, int]) -> None:
    """The pages are shown on loopback addresses."""
    assert listen_address(listen) == address


@pytest.mark.parametrize("listen", ["0.0.0.0:4580", "[::]:4580", "10.0.0.8:80", "example.com:80"])
def test_other_addresses_are_refused(listen: str) -> None:
    """Without a sign-in, pages that other machines could reach are refused with what to do."""
    with pytest.raises(ConfigError, match=r"no sign-in.*dashboard\.listen.*127\.0\.0\.1"):
        listen_address(listen)


@pytest.mark.parametrize("listen", ["4580", "127.0.0.1", ":80", "127.0.0.1:x", "127.0.0.1:99999"])
def test_nonsense_is_refused(listen: str) -> None:
    """An address that cannot be read is a configuration error."""
    with pytest.raises(ConfigError, match=r"dashboard\.listen"):
        listen_address(listen)


def test_unknown_keys_are_errors() -> None:
    """A misspelt key is not silently ignored."""
    with pytest.raises(msgspec.ValidationError, match="unknown field `listn`"):
        msgspec.convert({"listn": "127.0.0.1:1"}, type=DashboardConfig)


def test_a_port_in_use_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second dashboard on one port ends with exit code 2 and says what to do."""
    monkeypatch.setenv("OUTRIDER_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("OUTRIDER_INBOX", str(tmp_path))
    config = tmp_path / "outrider.toml"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config.write_text(f'[dashboard]\nlisten = "127.0.0.1:{port}"\n', encoding="utf-8")

        code = command.main(["dashboard", "--config", str(config)])

    assert code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"outrider: the port is in use: 127.0.0.1:{port}: ")
    assert "--listen" in said


def test_listening_for_others_is_refused_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command refuses to show the pages to other machines, with exit code 2."""
    config = tmp_path / "outrider.toml"
    config.write_text('[dashboard]\nlisten = "0.0.0.0:4580"\n', encoding="utf-8")

    assert command.main(["dashboard", "--config", str(config)]) == 2
    assert "no sign-in" in capsys.readouterr().err


def test_an_endless_port_is_no_port() -> None:
    """Python itself reads no number of so many digits."""
    with pytest.raises(ConfigError, match="there is no port 99999999999999999999: "):
        listen_address("127.0.0.1:" + "9" * 5_000)
