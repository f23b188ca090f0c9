"""Columns of blocks as arrays: what the driver hands over of them, and what it is given.

Integers (times are microseconds since 2000) are numpy arrays, made of Postgres's binary arrays and
made into them without an object for a record. Texts and ids are lists of bytes. Pure, but for the
loaders of a cursor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from psycopg.types.numeric import Int8BinaryLoader
from psycopg.types.string import ByteaBinaryLoader

from outrider_collector.store import blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import AsyncCursor

    Integers = NDArray[np.int64]

_HEADER_BYTES: Final = 20
_INT8: Final = np.dtype([("size", ">i4"), ("value", ">i8")])
_INT2: Final = np.dtype([("size", ">i4"), ("value", ">i2")])


class _IntegersLoader(ByteaBinaryLoader):
    """Loads smallint[], bigint[] and timestamptz[] of values that are never null."""

    def load(self, data: bytes | bytearray | memoryview) -> Any:
        """Return the integers."""
        raw = bytes(data)
        if len(raw) < _HEADER_BYTES:
            return np.zeros(0, dtype=np.int64)
        shape = _INT2 if int.from_bytes(raw[8:12]) == blocks.OID_INT2 else _INT8
        return np.frombuffer(raw, shape, offset=_HEADER_BYTES)["value"].astype(np.int64)


def load_raw(cursor: AsyncCursor[Any]) -> None:
    """Have a binary cursor yield columns as this module says, and single times as integers."""
    cursor.adapters.register_loader("timestamptz", Int8BinaryLoader)
    cursor.adapters.register_loader("text", ByteaBinaryLoader)
    cursor.adapters.register_loader("uuid", ByteaBinaryLoader)
    for name in ("int2", "int8", "timestamptz"):
        oid = cursor.adapters.types[name].array_oid
        cursor.adapters.register_loader(oid, _IntegersLoader)


def int8_array(oid: int, values: Integers) -> bytes:
    """Return a binary array of 8-byte integers."""
    return _array(oid, _INT8, values)


def int2_array(values: NDArray[Any]) -> bytes:
    """Return a binary array of smallints."""
    return _array(blocks.OID_INT2, _INT2, values)


def _array(oid: int, shape: np.dtype[np.void], values: NDArray[Any]) -> bytes:
    elements = np.empty(values.size, dtype=shape)
    elements["size"] = shape["value"].itemsize
    elements["value"] = values
    return blocks.array_of_elements(oid, values.size, (elements.tobytes(),))
