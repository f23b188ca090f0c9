"""One TOML format; every mistake in it is named with file, line and key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outrider import configuration
from outrider.configuration import ConfigError, load, parse, read_secret, suggest
from outrider.toml_lines import key_lines

TEXT = '''\
data_dir = "/srv/outrider"

[agent]
collectors = [
  "a:1",   # ] not the end
  "b:2",
]
note = """
[agent]
window_bytes = 5
"""
window_bytes = 1024
limits = { "per second" = 5, nested = { burst = 7 } }

[[agent.source]]
paths = ["/a"]

[[agent.source]]
paths = [
  "/b",
  "/c",
]
service = "bots"
'''


class Source(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One source."""

    paths: tuple[str, ...]
    service: str = ""
    form: Literal["auto", "json", "logfmt"] | None = None


class Agent(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, rename={"list_": "list"}):
    """A table with everything that can go wrong."""

    collectors: tuple[str, ...] = ()
    note: str = ""
    window_bytes: int = 0
    limits: dict[str, object] = {}
    source: tuple[Source, ...] = ()
    list_: int = 0


class Needs(msgspec.Struct, forbid_unknown_fields=True):
    """A table with a key that must be given."""

    url: str


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A configuration file."""
    path = tmp_path / "outrider.toml"
    path.write_text(TEXT)
    return path


def complaint(file: Path, text: str, tables: dict[str, type] | None = None) -> str:
    """What is said of a file with this text, its path left out."""
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, msgspec.convert, tables or {"agent": Agent})
    return str(caught.value).replace(str(file), "FILE")


def test_a_file_is_read_whole(file: Path) -> None:
    """Tables become structs, plain keys values; a table that is not there has its defaults."""
    loaded = load(file, msgspec.convert, {"agent": Agent, "data_dir": str, "retention": Agent})

    assert loaded["data_dir"] == "/srv/outrider"
    assert loaded["agent"].source[1].service == "bots"
    assert loaded["retention"] == Agent()


def test_the_search_for_the_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--config wins over $OUTRIDER_CONFIG, that over the system's file, that over the file beside
    the data; without any, defaults.
    """
    system, data = tmp_path / "system.toml", tmp_path / "data"
    monkeypatch.setattr(configuration, "SYSTEM_PATH", system)
    monkeypatch.setattr(configuration, "FILENAME", "outrider.toml")
    monkeypatch.setattr(configuration, "default_data_dir", lambda _: data)
    environ = {"OUTRIDER_CONFIG": str(file)}

    assert configuration.find("/x", environ) == Path("/x")
    assert configuration.find(None, environ) == file
    assert configuration.find(None, {}) is None
    assert load(None, msgspec.convert, {"agent": Agent, "data_dir": str}, environ={}) == {
        "agent": Agent()
    }
    data.mkdir()
    (data / "outrider.toml").write_text("")
    assert configuration.find(None, {}) == data / "outrider.toml"
    system.write_text("")
    assert configuration.find(None, {}) == system


def test_a_place_that_may_not_be_looked_at_is_as_if_absent(tmp_path: Path) -> None:
    """Unless it was named, then the message says that it may not be read."""
    closed = tmp_path / "home"
    (closed / ".local/share/outrider").mkdir(parents=True)
    named = closed / ".local/share/outrider/outrider.toml"
    named.write_text("data_dir = '/srv'")
    closed.chmod(0)
    script = (
        "import os\n"
        "from outrider import configuration as c\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(c.find(None, {}))\n"
        "try: c.load(None, None, {}, environ={'OUTRIDER_CONFIG': os.environ['NAMED']})\n"
        "except c.ConfigError as error: print(error)"
    )
    environ = {**os.environ, "HOME": str(closed), "NAMED": str(named), "XDG_DATA_HOME": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=True
    )

    closed.chmod(0o700)
    found, said = done.stdout.splitlines()
    assert found in {"None", str(configuration.SYSTEM_PATH)}
    assert said.startswith(f"cannot read the file, permission denied: {named}: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[agent]\nwindow_byte = 1\n",
         "unknown key `agent.window_byte`: FILE:2: did you mean `window_bytes`?"),
        ("[agent]\nlst = 1\n", "unknown key `agent.lst`: FILE:2: did you mean `list`?"),
        ("[agent]\n\nwindow_bytes = 'much'\n",
         "`agent.window_bytes`: expected `int`, got `str`: FILE:3"),
        ("[agent]\ncollectors = [\n'a',\n 5,\n]\n",
         "`agent.collectors[1]`: expected `str`, got `int`: FILE:4"),
        ("[[agent.source]]\npaths = ['a']\n[[agent.source]]\npaths = ['b']\nservise = 'x'\n",
         "unknown key `agent.source[1].servise`: FILE:5: did you mean `service`?"),
        ("[agent]\nsource = [{ paths = [], servis = 1 }]\n",
         "unknown key `agent.source[0].servis`: FILE:2: did you mean `service`?"),
        ("[[agent.source]]\nservice = 'x'\n", "`agent.source[0].paths` is missing: FILE:1: add it"),
        ("[[agent.source]]\npaths = []\nform = 'jsn'\n",
         ("`agent.source[0].form`: unknown value `jsn`: FILE:3: did you mean `json`? "
          "One of: auto, json, logfmt")),
        ("[[agent.source]]\npaths = []\nform = '{}'\n",
         "`agent.source[0].form`: unknown value `{}`: FILE:3: One of: auto, json, logfmt"),
        ("agents = 1\n", "unknown key `agents`: FILE:1: did you mean `agent`?"),
        ("agent = 3\n", "`agent`: expected `object`, got `int`: FILE:1"),
        ("[agent]\nx = \n", "not TOML, invalid value: FILE:2"),
        ("[agent]\nzzz = 1\n", ("unknown key `agent.zzz`: FILE:2: known keys: collectors, limits,"
          " list, note, source, window_bytes")),
        ("[agent]\nx = 'a", 'not TOML, expected "\'": FILE:2'),
    ],
)  # fmt: skip
def test_mistakes_name_file_line_key_and_the_nearest(file: Path, text: str, said: str) -> None:
    """Unknown keys, wrong types, missing keys and syntax errors are told with their place."""
    assert complaint(file, text) == said


def test_a_required_key_without_a_table(file: Path) -> None:
    """A key that must be given is named even where its table is not in the file."""
    assert complaint(file, "", {"database": Needs}).startswith("`database.url` is missing: FILE")


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    """Not there, a directory, not UTF-8, too large: each is said, none is a traceback."""
    (tmp_path / "binary").write_bytes(b"a = 1\nb = '\xff'\n")
    (tmp_path / "large").write_bytes(b"#" * (configuration.MAX_FILE_BYTES + 1))
    for name, said in {
        "missing": "cannot read the file, no such file or directory",
        ".": "a directory where a file should be",
        "binary": "not UTF-8: FILE:2",
        "large": "larger than",
    }.items():
        path = tmp_path / name
        with pytest.raises(ConfigError) as caught:
            load(path, msgspec.convert, {})
        assert said in str(caught.value).replace(str(path), "FILE")


def test_secrets(tmp_path: Path) -> None:
    """A secret is the text of its file; an empty file is a mistake."""
    (tmp_path / "token").write_text("s3cret\n")
    (tmp_path / "empty").write_text("\n")

    assert read_secret("token", tmp_path) == "s3cret"
    with pytest.raises(ConfigError, match="secret is empty"):
        read_secret("empty", tmp_path)


def test_lines_of_keys() -> None:
    """Every key has its line: in tables, arrays of tables, inline tables, arrays over lines."""
    lines = key_lines(TEXT)

    assert lines["agent", "note"] == 8
    assert lines["agent", "window_bytes"] == 12
    assert lines["agent", "limits", "nested", "burst"] == 13
    assert lines["agent", "limits", "per second"] == 13
    assert lines["agent", "source", 1] == 18
    assert lines["agent", "source", 1, "paths", 1] == 21
    assert lines["agent", "source", 1, "service"] == 23


@settings(deadline=None)
@given(st.text(alphabet="ab.=[]{}\"'#\n ,1\\", max_size=80))
def test_the_scanner_never_fails(text: str) -> None:
    """Any text at all is scanned to its end, for the place of an error must never be an error."""
    lines = key_lines(text)

    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


def test_suggestions() -> None:
    """A near word is suggested, a far one is not."""
    assert suggest("window", ["window_bytes", "paths"]) == "window_bytes"
    assert suggest("colector", ["collector", "agent"]) == "collector"
    assert suggest("zebra", ["collector", "agent"]) is None


def test_default_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's data is under $XDG_DATA_HOME, else under the home; root's is the system's."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert configuration.default_data_dir({"XDG_DATA_HOME": "/d"}) == Path("/d/outrider")
    assert configuration.default_data_dir({"XDG_DATA_HOME": "relative"}) == (
        tmp_path / ".local/share/outrider"
    )
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert configuration.default_data_dir({}) == Path("/var/lib/outrider")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[agent]\na = " + "9" * 5_000, "a number beyond 64 bits: t.toml:2: write a smaller one"),
        ("a = 1\nb = [1, 9223372036854775808]", "`b[1]` is a number beyond 64 bits: t.toml:2: "),
        ('[x]\ny = "a\\u0000b"', "`x.y` holds a zero byte: t.toml:2: write it without"),
        ("a = 1e400", "`a` is not a finite number: t.toml:1: write one"),
        ("a." * 10_000 + "a = 1", "nested deeper than 32 levels: t.toml:1"),
        ("a = " + "[" * 10_000 + "]" * 10_000, "not TOML, nested too deeply: t.toml"),
    ],
    ids=["endless", "large", "zero", "infinite", "dotted", "nested"],
)
def test_what_nothing_behind_the_parser_takes_is_refused(text: str, said: str) -> None:
    """Syntax allows it, file names, database and JSON do not: file, line and key, no traceback."""
    with pytest.raises(ConfigError) as caught:
        parse(configuration.Source("t.toml", text))

    assert str(caught.value).startswith(said)
