"""An inbox of its own for each test, and a process's client that is put back afterwards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from outrider import client
from outrider.inbox import descriptors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Lines = list[dict[str, Any]]


def read_records(inbox: Path) -> Lines:
    """Every record of every segment, in the order of files and lines; a broken line fails."""
    return [
        json.loads(line)
        for path in sorted(inbox.glob("**/*.jsonl"))
        for line in path.read_bytes().splitlines()
    ]


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An inbox that this process and its children use."""
    path = tmp_path / "inbox"
    monkeypatch.setenv("OUTRIDER_INBOX", str(path))
    monkeypatch.delenv("OUTRIDER_WORKER", raising=False)
    monkeypatch.delenv("OUTRIDER_SERVICE", raising=False)
    yield path
    # What a test has opened in this process is closed as a forked child would.
    descriptors.forget_in_child()


@pytest.fixture
def logged(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Lines]:
    """A client for this process; call the fixture for the records written by the test."""
    mine = client.Client("payments", "w1", inbox=inbox)
    monkeypatch.setattr(client, "_current", mine)
    mine.start()
    return lambda: [r for r in read_records(inbox) if r["message"] != "started"]
