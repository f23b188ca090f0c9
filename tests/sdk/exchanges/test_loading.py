"""Presets are data: ours load, a user's does from a file or a table, mistakes name their place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from outrider.configuration import ConfigError, Source, parse
from outrider.exchanges import known, load, loading
from outrider.exchanges.modes import Mode
from outrider.probes.keys import Keys
from outrider.probes.kinds import KINDS
from outrider.probes.spec import read
from tests.sdk.exchanges.fake import NAMES

if TYPE_CHECKING:
    from outrider.exchanges import Preset
    from outrider.probes.spec import Spec

PAGE = Path(__file__).parents[3] / "sdk" / "EXCHANGES.md"

MINE = """\
name = "mine"
base_url = "https://api.example.com"

[[reach]]
url = "/ping"
"""


def probes(text: str) -> tuple[Spec[Any], ...]:
    """The probes of an agent's settings."""
    source = Source("outrider.toml", text)
    return read(parse(source)["agent"]["probe"], source, ("agent", "probe"), KINDS)


def loaded(text: str) -> Preset:
    """The preset of a table in the settings of a probe."""
    source = Source("outrider.toml", f"[exchange]\n{text}")
    return load(Keys(parse(source), source, ()), "exchange")


def test_ours() -> None:
    """Every exchange that we know is one of those that are tested, over TLS, and tells its time."""
    assert tuple(known()) == NAMES
    for name in NAMES:
        preset = load(Keys({"exchange": name}, Source("x"), ()), "exchange")
        assert preset.name == name
        assert all(preset.url(one).startswith("https://") for one in preset.endpoints())
        assert preset.time is not None
        assert preset.announced is not None
        assert Mode.ONLINE in preset.announced.words.values()


def test_a_probe_is_called_like_its_exchange() -> None:
    """Three lines are a probe; another name, address and interval may be given."""
    (one,) = probes('[[agent.probe]]\nkind = "exchange"\nexchange = "kraken"\n')
    assert (one.name, one.kind.group, one.every_s) == ("kraken", "exchange", 30)
    (one,) = probes(
        '[[agent.probe]]\nkind = "exchange"\nexchange = "kraken"\nname = "mirror"\n'
        'base_url = "https://mirror.example"\nevery = "10s"\n'
    )
    assert (one.name, one.every_s) == ("mirror", 10)


def test_a_users_own(tmp_path: Path) -> None:
    """An exchange is added by a file, without code."""
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    preset = load(Keys({"exchange": str(file)}, Source("x"), ()), "exchange")

    assert preset.url(preset.reach[0]) == "https://api.example.com/ping"
    assert preset.elsewhere("http://a/b/").url(preset.reach[0]) == "http://a/b/ping"
    file.write_text(MINE + 'ok = { success = true }\nurll = "/x"\n')
    with pytest.raises(ConfigError) as caught:
        load(Keys({"exchange": str(file)}, Source("x"), ()), "exchange")
    assert str(caught.value) == (
        f"unknown key `reach[0].urll`: {file}:7: did you mean `url`?"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('exchange = "krakn"',
         ("`agent.probe[0].exchange`: no exchange `krakn`: outrider.toml:3: did you mean `kraken`? "
          "One of: binance, bybit, coinbase, kraken, okx; or the whole path of a file of yours")),
        ("exchange = 5", "`agent.probe[0].exchange`: no exchange `5`: outrider.toml:3: "),
        ('exchange = "/nowhere/x.toml"', "cannot read the file, no such file or directory"),
        ('exchange = "kraken"\nbase_url = "ftp://x"',
         ("`agent.probe[0].base_url`: `ftp://x` is no http or https URL with a host: "
          "outrider.toml:4: write it like https://api.example.com")),
        ('exchange = "kraken"\nbase_url = "http://10.0.0.1"',
         "`agent.probe[0].base_url`: 10.0.0.1 is not a public address: outrider.toml:4: "),
        ('exchange = "kraken"\nannounce_url = "x"',
         "unknown key `agent.probe[0].announce_url`: outrider.toml:4: did you mean "),
    ],
)  # fmt: skip
def test_mistakes_of_a_probe(text: str, said: str) -> None:
    """They name the file, the line and the key."""
    with pytest.raises(ConfigError) as caught:
        probes(f'[[agent.probe]]\nkind = "exchange"\n{text}\n')
    assert str(caught.value).startswith(said)


REACH = "[[exchange.reach]]\nurl = '/p'\n"
HEAD = f"name = 'x'\nbase_url = 'https://x.example'\n{REACH}"
TIME = "[exchange.time]\nurl = '/t'\nat = 't'\n"
SAID = "[exchange.announced]\nurl = '/s'\nat = 's'\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "`exchange.name` is missing: outrider.toml:1: add it"),
        ("name = 'x'\nbase_url = 'https://x.example'\n",
         "`exchange.reach`: 0 entries: outrider.toml:1: 1 to 5"),
        (f"name = 'x'\nbase_url = 'https://x.example'\n{REACH * 6}",
         "`exchange.reach`: 6 entries: outrider.toml:4: 1 to 5"),
        (f"{HEAD}has = 'a'", "`exchange.reach[0].has`: a list of texts is expected"),
        (f"{HEAD}{TIME}", "`exchange.time.unit` is missing: outrider.toml:6: add it"),
        (f"{HEAD}{TIME}unit = 'm'", "`exchange.time.unit`: unknown value `m`: outrider.toml:9: "),
        (f"{HEAD}{TIME}unit = 's'\nahead_ms = 0",
         "`exchange.time.ahead_ms`: 0.0 is not from 1 to 86400000: outrider.toml:10"),
        (f"{HEAD}{SAID}words = {{ on = 'ONLNE' }}",
         ("`exchange.announced.words.on`: unknown value `ONLNE`: outrider.toml:9: "
          "did you mean `ONLINE`? One of: ONLINE, UNKNOWN, DEGRADED, POST_ONLY, ")),
        (f"{HEAD}{SAID}", "`exchange.announced.words`: it says what no word means"),
        (f"{HEAD}{SAID}words = {{ a = 'ONLINE' }}\nonly = {{ env = ['1'] }}",
         "`exchange.announced.only`: it is about entries of a list: outrider.toml:10: add `list`"),
        (f"{HEAD}{SAID}words = {{ a = 'ONLINE' }}\nlist = 'l'\nonly = {{ env = [1.5] }}",
         "`exchange.announced.only.env`: a list of texts or whole numbers is expected"),
        (f"{HEAD}[exchange.throttled]\nstatus = [200]\n", "`exchange.throttled.status`: "),
        (f"{HEAD}[exchange.weight]\nheader = 'x'\n", "`exchange.weight.limit` is missing"),
    ],
)  # fmt: skip
def test_mistakes_of_a_preset(text: str, said: str) -> None:
    """They name the file, the line and the key, and what would be right."""
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    assert str(caught.value).startswith(said)


def test_the_shape_that_the_module_explains_is_a_preset() -> None:
    """Every key of the loader's page is one."""
    assert loading.__doc__ is not None
    _, _, example = loading.__doc__.partition("::\n\n")
    text = example.partition("\nPaths are explained")[0].replace("\n    ", "\n").strip()
    source = Source("page", text)

    preset = loading.read(Keys(parse(source), source, ()))
    assert preset.announced is not None and preset.announced.partly


def test_the_page_for_users_is_true() -> None:
    """Its examples are probes and presets, and it names every preset, mode and key."""
    text = PAGE.read_text()
    settings, own = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    source = Source("page", own)

    assert [probe.name for probe in probes(settings)] == ["kraken", "binance"]
    assert loading.read(Keys(parse(source), source, ())).announced is not None
    for name in (*NAMES, *Mode, "base_url", "announced_url", "only", "partly", "resolution_ms"):
        assert re.search(rf"\b{name}\b", text), name
