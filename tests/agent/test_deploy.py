"""The units in deploy/ are what systemd understands, and are as hard as they say."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from outrider_agent import agent, configuration
from outrider_collector import config

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))


def unit(path: Path) -> configparser.ConfigParser:
    """Read a unit."""
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    parser.read_string(path.read_text())
    return parser


def test_the_example_is_a_configuration() -> None:
    """Of the agent and of the collector; every probe in it can be run."""
    example = DEPLOY / "outrider.example.toml"

    found = configuration.load(example, {})
    assert [probe.name for probe in found.probes] == ["shop", "queue", "root disk", "kraken"]
    assert config.load(example, {}).probes[0].name == "postgres"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_is_hardened(path: Path) -> None:
    """Systemd's own audit rates it as well protected (below 4 of 10)."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    audit = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=40", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if "Unknown option" in audit.stderr or "unrecognized option" in audit.stderr:
        pytest.skip("this systemd audits no files")
    assert audit.returncode == 0, audit.stdout[-200:] + audit.stderr


def test_the_agents_unit_fits_the_agent() -> None:
    """Its watchdog waits longer than the agent takes to notice that it hangs, its stop likewise."""
    service = unit(DEPLOY / "outrider-agent.service")["Service"]

    assert service["Type"] == "notify"
    assert service["ExecReload"].startswith("/bin/kill -HUP")
    assert float(service["WatchdogSec"]) > agent.STALLED_S
    assert float(service["TimeoutStopSec"]) > 3 * agent.DRAIN_S
