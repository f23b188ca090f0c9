"""Values of the reading side as JSON knows them. Pure."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from outrider_collector.store.reading.export import timestamp


def document(value: Any) -> Any:
    """Return a value of the reading side as JSON knows it: objects, lists, RFC 3339 times."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: document(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: document(part) for name, part in value._asdict().items()}
    if isinstance(value, (list, tuple)):
        return [document(part) for part in value]
    if isinstance(value, dict):
        return {name: document(part) for name, part in value.items()}
    if isinstance(value, datetime):
        return timestamp(value)
    return value.hex if isinstance(value, UUID) else value
