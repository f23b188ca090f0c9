"""What the documents say is what the code does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import outrider
from outrider.filter import FIELDS, parse
from outrider.filter.parser import MAX_DEPTH, MAX_LENGTH, MAX_TERMS
from outrider.inbox import names, segment, slot
from outrider.record import LIFTED, MAX_RECORD_BYTES

SDK = Path(__file__).parents[2] / "sdk"


def blocks(document: str, language: str) -> list[str]:
    """The code blocks of a language."""
    text = (SDK / document).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("text", [line.partition("  #")[0].strip()
                                  for block in blocks("FILTER.md", "text")
                                  for line in block.splitlines() if line.strip()])  # fmt: skip
def test_every_example_of_the_filter_page_is_a_filter(text: str) -> None:
    """Each line of the page's examples can be read."""
    parse(text, labels=text.startswith("priority"))


def test_the_filter_page_names_fields_and_limits() -> None:
    """All fields and limits are on the page."""
    text = (SDK / "FILTER.md").read_text()
    for field in FIELDS:
        assert f"`{field}`" in text
    for limit in (f"{MAX_LENGTH:,}", str(MAX_DEPTH), str(MAX_TERMS)):
        assert limit in text


def test_the_line_page_names_what_a_writer_needs() -> None:
    """Keys, limits, modes and the slot's table are the code's."""
    text = (SDK / "LINE.md").read_text()
    for key in ("ts", "severity", "level", "message", "logger", "event", "attributes", *LIFTED):
        assert f"`{key}`" in text
    assert f"{MAX_RECORD_BYTES >> 10} KiB" in text
    assert f"{segment.MAX_BYTES >> 20} MiB" in text
    assert f"{segment.FILE_MODE:04o}" in text and f"{segment.INBOX_MODE:o}" in text
    assert f"{names.MAX_PART_BYTES} bytes" in text
    table = re.findall(r"^\| (\d+) +\| (\d+) +\|", text, re.MULTILINE)
    assert sum(int(size) for _, size in table) == slot.SIZE
    assert [int(offset) for offset, _ in table] == [0, 4, 8, 16, 24, 32, 40, 44, 45, 46, 62]


def test_the_example_lines_are_records() -> None:
    """Each example line of the page is one JSON object with keys the page names."""
    for line in "".join(blocks("LINE.md", "json")).splitlines():
        assert {"message"} <= json.loads(line).keys()


def test_the_shell_example_writes_a_record(tmp_path: Path) -> None:
    """The page's shell example appends one line to the inbox."""
    (script,) = blocks("LINE.md", "sh")
    environ = {**os.environ, "OUTRIDER_INBOX": str(tmp_path)}
    subprocess.run(["sh", "-eu"], input=script.encode(), env=environ, check=True)

    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text())["message"]


def test_the_readmes_example_runs(tmp_path: Path) -> None:
    """The README's program runs as it stands and writes what it says."""
    program = tmp_path / "program.py"
    program.write_text(blocks("README.md", "python")[0])
    inbox = tmp_path / "inbox"
    subprocess.run([sys.executable, str(program)], check=True,
                   env={**os.environ, "OUTRIDER_INBOX": str(inbox)})  # fmt: skip

    (path,) = inbox.glob("*.jsonl")
    assert b'"order.filled"' in path.read_bytes()


def test_the_readme_names_the_whole_surface() -> None:
    """Every public name of the package is in its README."""
    text = (SDK / "README.md").read_text()
    for name in outrider.__all__:
        assert f"`{name}" in text or f"outrider.{name}" in text
