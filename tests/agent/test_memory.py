"""What a running agent does not load: each megabyte is on every host."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from outrider_agent import cli
cli._do_without_openssl()
import outrider_agent.agent
print([name for name in ("ssl", "_hashlib", "re2", "outrider.filter", "outrider_agent.check",
    "outrider_agent.status", "outrider_agent.explain") if sys.modules.get(name) is not None])
"""


def test_a_running_agent_loads_no_more_than_it_needs() -> None:
    """Neither OpenSSL (gRPC brings its own TLS), nor RE2, nor what only commands use."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr) == ("[]\n", "")
