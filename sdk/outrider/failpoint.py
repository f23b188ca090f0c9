"""Named places where a test may end this process, so that crashes are tried where they hurt.

``OUTRIDER_FAILPOINTS="claim/insert=kill@3,open/flock=kill"`` ends the process by SIGKILL at the
third passing of ``claim/insert`` and at the first of ``open/flock``; ``stop`` instead of ``kill``
sends SIGSTOP, ``sleep:MS`` waits. Without the variable a failpoint is one attribute look-up and a
call.
"""

from __future__ import annotations

import os
import signal
import time


def _parse(text: str) -> dict[str, tuple[str, int]]:
    plan: dict[str, tuple[str, int]] = {}
    for part in filter(None, text.split(",")):
        name, _, action = part.partition("=")
        verb, _, count = action.partition("@")
        plan[name.strip()] = (verb.strip(), int(count or 1))
    return plan


_plan = _parse(os.environ.get("OUTRIDER_FAILPOINTS", ""))
_passed: dict[str, int] = {}


def _armed(name: str) -> None:
    verb, count = _plan.get(name, ("", 0))
    if not verb:
        return
    _passed[name] = _passed.get(name, 0) + 1
    if _passed[name] != count:
        return
    if verb == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif verb == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif verb.startswith("sleep:"):
        time.sleep(int(verb[6:]) / 1000)


def _unarmed(name: str) -> None:
    del name


failpoint = _armed if _plan else _unarmed
"""Call with a name from the list in tests/chaos; does nothing unless armed by the environment."""
