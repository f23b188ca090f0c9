"""A text that is longer than the screen is shown in the user's pager.

``$PAGER`` names it, ``less`` where it is not set; an empty one or ``cat`` means none. ``less`` is
told to pass colours on, which are ours alone: content is made visible before.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


def exceeds(lines: Sequence[str], columns: int, rows: int) -> bool:
    """Tell whether lines, folded at the screen's edge, need more rows than it has. Pure."""
    needed = 0
    for line in lines:
        needed += max(1, -(-len(_COLOUR.sub("", line)) // max(columns, 1)))
        if needed >= rows:  # the last row is the prompt's
            return True
    return False


def command(environ: Mapping[str, str]) -> list[str]:
    """Return the words of the pager's command; none: the user wants no pager. Pure."""
    try:
        words = shlex.split(environ.get("PAGER", "less"))
    except ValueError:  # a quote that is never closed
        return []
    return [] if words[:1] == ["cat"] else words


def show(text: str, environ: Mapping[str, str]) -> bool:
    """Show a text until the user has seen enough; False: there is no pager."""
    words = command(environ)
    if not words:
        return False
    # An interrupt is the pager's while it runs. A handler, unlike SIG_IGN, is not handed down.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        pager = subprocess.Popen(  # noqa: S603  the user's own choice
            words,
            stdin=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            env={"LESS": "FRX", **environ},
        )
        pager.communicate(text)
    except OSError:
        return False
    finally:
        signal.signal(signal.SIGINT, before)
    return True
