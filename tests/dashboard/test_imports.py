"""What is loaded to show something is what that takes."""

from __future__ import annotations

import subprocess
import sys

import pytest

_OF_OTHER_EXTRAS = "'aiosmtplib', 'cronsim', 'google', 'grpc', 'numpy', 'telegram', 'zstandard'"


@pytest.mark.parametrize(
    ("modules", "others"),
    [
        # Where only outrider[dashboard] is installed these are not there.
        ("outrider_dashboard.cli, outrider_dashboard.app", _OF_OTHER_EXTRAS),
        # Who reads lines waits for no library of arrays.
        ("outrider_collector.terminal.logs", "'grpc', 'numpy'"),
    ],
)
def test_readers_load_no_library_that_only_collectors_need(modules: str, others: str) -> None:
    """The extra of the dashboard is enough for it, and a command for people begins at once."""
    code = f"import sys, {modules}; print(*{{{others}}} & sys.modules.keys())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
