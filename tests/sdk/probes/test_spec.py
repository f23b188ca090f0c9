"""What the configuration says of probes: read whole, and mistakes named with file, line and key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from outrider.configuration import ConfigError, Source
from outrider.probes.keys import Keys
from outrider_agent import probe_kinds
from outrider_protos.probe_kinds import KINDS

if TYPE_CHECKING:
    from outrider.probes import spec

LEAST: dict[str, dict[str, Any]] = {
    "http": {"url": "https://shop.example/health"},
    "tcp": {"address": "db.example:5432"},
    "dns": {"host": "shop.example"},
    "tls": {"address": "shop.example:443"},
    "smtp": {"address": "mail.example:25"},
    "disk": {},
    "process": {"command": "nginx"},
    "clock": {"server": "time.example"},
    "command": {"command": ["/bin/true"]},
    "exchange": {"exchange": "kraken"},
    "grpc": {"address": "api.example:50051"},
}
"""The least that each kind needs."""

COMMON = {"name", "kind", "every", "timeout", "rise", "fall"}


def read(text: str, *allowed: str) -> tuple[spec.Spec[Any], ...]:
    """Read the probes of an agent's file."""
    tables = tomllib.loads(text)["agent"]["probe"]
    return probe_kinds.read(tables, allowed, Source("outrider.toml", text))


def test_defaults_are_enough() -> None:
    """A name, a kind and what is looked at."""
    (probe,) = read('[[agent.probe]]\nname = "shop"\nkind = "tcp"\naddress = "[2a01::1]:80"\n')

    assert (probe.name, probe.kind.name, probe.kind.group) == ("shop", "tcp", "probe")
    assert (probe.every_s, probe.timeout_s, probe.rise, probe.fall) == (30.0, 5.0, 2, 3)
    assert (probe.target.host, probe.target.port) == ("2a01::1", 80)


def test_the_same_text_is_the_same_probe() -> None:
    """What decides whether a reload keeps a probe's state."""
    text = (
        '[[agent.probe]]\nname = "a"\nkind = "http"\nurl = "http://a.example"\n'
        'regex = "x+"\njson = "attrs.a:1"\n'
    )
    assert read(text) == read(text)
    assert read(text) != read(text.replace("x+", "y+"))


def test_every_kind_is_documented_with_its_keys() -> None:
    """The agent's README names each kind that there is, with each key that it asks for."""
    text = (Path(__file__).parents[3] / "agent" / "README.md").read_text()
    section = text.partition("## Probes")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*)$", section, re.MULTILINE))

    assert set(rows) == {*LEAST, *COMMON} == {*KINDS, *COMMON}
    for kind, least in LEAST.items():
        keys = Keys(least, Source("x"), ())
        loaded = KINDS[kind]()
        loaded.read(keys, ())
        for key in keys.known:
            assert f"`{key}`" in rows[kind], (kind, key)


@pytest.mark.parametrize(
    ("body", "line", "told"),
    [
        ('kind = "htpp"', 3, "did you mean `http`?"),
        ('kind = "postgres"', 3, r"\[\[collector.probe\]\]"),
        ('kind = "tcp"', 1, "`agent.probe.0..address` is missing"),
        ('kind = "tcp"\naddress = "db.example"', 4, "no host and port"),
        ('kind = "tcp"\naddress = "127.0.0.1:80"', 4, r'not a public address.*\["127.0.0.1"\]'),
        ('kind = "tcp"\naddress = "localhost:80"', 4, "not a public address"),
        ('kind = "tcp"\naddress = "[::ffff:10.0.0.1]:80"', 4, "not a public address"),
        ('kind = "http"\nurl = "http://169.254.169.254/"', 4, "not a public address"),
        ('kind = "http"\nurl = "http://[64:ff9b::a00:1]/"', 4, "not a public address"),
        ('kind = "http"\nurl = "file:///etc/passwd"', 4, "no http or https URL"),
        ('kind = "http"\nurl = "http://me:secret@shop.example"', 4, "use a header"),
        ('kind = "http"\nurl = "http://a.example"\nstatus = ["2xx"]', 5, "no status"),
        ('kind = "http"\nurl = "http://a.example"\nregex = "(?<=a)b"', 5, "no look-around"),
        ('kind = "http"\nurl = "http://a.example"\njson = "ok"', 5, "attrs.status:ok"),
        ('kind = "http"\nurl = "http://a.example"\nheaders = { "a b" = "c" }', 5, "no header"),
        ('kind = "http"\nurl = "http://a.example"\nca_file = "/nowhere"', 5, "no file"),
        ('kind = "http"\nurl = "http://a.example"\nretries = 3', 5, "unknown key"),
        ('kind = "disk"\nevery = "1x"', 4, "not a duration"),
        ('kind = "disk"\nevery = 30', 4, "a duration such as 30s is expected"),
        ('kind = "disk"\nevery = "2s"\ntimeout = "3s"', 5, "longer than `every`"),
        ('kind = "disk"\nfall = 0', 4, "not from 1 to 100"),
        ('kind = "disk"\nfall = true', 4, "a whole number is expected"),
        ('kind = "disk"\nwarn_below_pct = 1', 1, "above `warn_below_pct`"),
        ('kind = "dns"\nhost = "a.example"\nexpect = ["b.example"]', 5, "addresses, not names"),
        ('kind = "process"\ncommand = " "', 4, "in every command line"),
        ('kind = "command"\ncommand = ["check"]', 4, "absolute path"),
        ('kind = "command"\ncommand = "check"', 4, "a list of texts"),
    ],
)
def test_a_mistake_is_named_with_its_line(body: str, line: int, told: str) -> None:
    """What is wrong, in which line, and what to do."""
    with pytest.raises(ConfigError, match=told) as caught:
        read(f'[[agent.probe]]\nname = "shop"\n{body}\n')

    assert caught.value.where == f"outrider.toml:{line}"


def test_names_are_unique_and_can_be_told() -> None:
    """Of one group; an @ would make another host's of it."""
    disk = '[[agent.probe]]\nname = "a"\nkind = "disk"\n'
    with pytest.raises(ConfigError, match="another probe is called `a`"):
        read(disk * 2)
    with pytest.raises(ConfigError, match="no @"):
        read(disk.replace('"a"', '"a@b"'))
    with pytest.raises(ConfigError, match="printable"):
        read(disk.replace('"a"', '"a\\u001b"'))


def test_private_addresses_are_allowed_by_name_of_their_network() -> None:
    """The list beside the probes; a network that is none is told."""
    text = '[[agent.probe]]\nname = "a"\nkind = "tcp"\naddress = "10.1.2.3:80"\n'
    (probe,) = read(text, "10.0.0.0/8")
    assert probe.target.host == "10.1.2.3"
    with pytest.raises(ConfigError, match=r"agent.probe_networks.*10.0.0.1/8"):
        read(text, "10.0.0.1/8")
