"""The kinds of probes that need nothing but Python: one file each, loaded when one is configured.

A file has ``KIND``: how the keys are read, and the function that looks.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from outrider.probes.spec import Kind

NAMES = ("http", "tcp", "dns", "tls", "smtp", "disk", "process", "clock", "command", "exchange")


def _load(name: str) -> Kind[Any]:
    kind: Kind[Any] = import_module(f"{__name__}.{name}").KIND
    return kind


KINDS: Mapping[str, Callable[[], Kind[Any]]] = {name: partial(_load, name) for name in NAMES}
"""What loads each kind."""
