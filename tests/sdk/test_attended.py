"""Whether an agent reads the inbox, and how a program hears that none does."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from outrider.inbox.attended import AGENT_SERVICE, is_attended, is_known
from outrider.inbox.writer import Writer

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "import outrider; outrider.init('payments'); outrider.get_logger('p').info('charged')"


def program(inbox: Path, *options: str, **environment: str) -> str:
    """Run a program that logs; return its standard error."""
    done = subprocess.run(
        [sys.executable, *options, "-c", PROGRAM],
        env={**os.environ, "OUTRIDER_INBOX": str(inbox), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert any("charged" in path.read_text() for path in inbox.glob("payments*.jsonl"))
    return done.stderr


def test_an_agents_held_segment_is_an_agent(inbox: Path) -> None:
    """A living agent holds a segment of its own; a worker's segment or a dead agent's is none."""
    worker = Writer(inbox, "payments", "w1", numbered=False)
    worker.open()
    agent = Writer(inbox, AGENT_SERVICE, "host", numbered=False)
    assert not is_attended(inbox)
    assert not is_known(inbox)
    agent.open()
    assert is_attended(inbox)
    assert agent._segment is not None
    os.close(agent._segment.descriptor)
    assert not is_attended(inbox)
    assert is_known(inbox)


def test_where_it_cannot_be_told_nothing_is_said(tmp_path: Path) -> None:
    """An inbox that is not there, or no directory, is another message's business."""
    (tmp_path / "file").write_text("")
    assert is_attended(tmp_path / "nowhere")
    assert is_attended(tmp_path / "file")


def test_a_program_is_warned_once_and_by_a_warning(inbox: Path) -> None:
    """`init` warns with the inbox and what to set; the language's own means silence it."""
    said = program(inbox)
    assert "RuntimeWarning: outrider: no agent has read the inbox yet: " in said
    assert str(inbox) in said
    assert said.count("no agent has read") == 1
    assert program(inbox, "-W", "ignore") == ""


@pytest.mark.parametrize("environment", [{}, {"OUTRIDER_RUN": "1"}])
def test_warnings_that_are_errors_end_no_program(inbox: Path, environment: dict[str, str]) -> None:
    """`init` never raises; under `outrider run`, which has said it, it says nothing."""
    assert program(inbox, "-W", "error", **environment) == ""


def test_with_an_agent_nothing_is_said(inbox: Path) -> None:
    """The usual case is silent, and so is an agent that is being restarted."""
    agent = Writer(inbox, AGENT_SERVICE, "host", numbered=False)
    agent.open()
    assert program(inbox) == ""
    assert agent._segment is not None
    os.close(agent._segment.descriptor)
    assert program(inbox) == ""
