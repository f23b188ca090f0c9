"""Parameters that are packed already: bytes that go to Postgres as they are, typed by their class.

The driver would prepare a statement anew for each combination of Python types it meets (a small int
is an int2, a None has no type), and would build an array element by element. A parameter of a class
below has one type whatever it holds, so each statement is prepared once, and its bytes are sent
untouched. ``None`` inside is NULL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from psycopg.adapt import Dumper
from psycopg.pq import Format

if TYPE_CHECKING:
    from psycopg import AsyncConnection

Data = bytes | None


class Packed:
    """A parameter in Postgres's binary form."""

    __slots__ = ("data",)
    oid: ClassVar[int]

    def __init__(self, data: Data) -> None:
        self.data = data


class Int2(Packed):
    """smallint."""

    __slots__ = ()
    oid = 21


class Int4(Packed):
    """integer."""

    __slots__ = ()
    oid = 23


class Int8(Packed):
    """bigint."""

    __slots__ = ()
    oid = 20


class Bool(Packed):
    """boolean."""

    __slots__ = ()
    oid = 16


class Text(Packed):
    """text."""

    __slots__ = ()
    oid = 25


class Bytea(Packed):
    """bytea."""

    __slots__ = ()
    oid = 17


class Timestamptz(Packed):
    """timestamptz: microseconds since 2000."""

    __slots__ = ()
    oid = 1184


class BoolArray(Packed):
    """boolean[]."""

    __slots__ = ()
    oid = 1000


class Int2Array(Packed):
    """smallint[]."""

    __slots__ = ()
    oid = 1005


class Int4Array(Packed):
    """integer[]."""

    __slots__ = ()
    oid = 1007


class Int8Array(Packed):
    """bigint[]."""

    __slots__ = ()
    oid = 1016


class TextArray(Packed):
    """text[]."""

    __slots__ = ()
    oid = 1009


class ByteaArray(Packed):
    """bytea[]."""

    __slots__ = ()
    oid = 1001


class TimestamptzArray(Packed):
    """timestamptz[]."""

    __slots__ = ()
    oid = 1185


class JsonbArray(Packed):
    """jsonb[]; each element begins with the version of its form, 1."""

    __slots__ = ()
    oid = 3807


class UuidArray(Packed):
    """uuid[]."""

    __slots__ = ()
    oid = 2951


def int2(value: int) -> Int2:
    """Pack a smallint."""
    return Int2(value.to_bytes(2, signed=True))


def int4(value: int) -> Int4:
    """Pack an integer."""
    return Int4(value.to_bytes(4, signed=True))


def int8(value: int | None) -> Int8:
    """Pack a bigint."""
    return Int8(None if value is None else value.to_bytes(8, signed=True))


def boolean(value: bool) -> Bool:  # noqa: FBT001  the value itself
    """Pack a boolean."""
    return Bool(b"\x01" if value else b"\x00")


def text(value: str) -> Text:
    """Pack a text."""
    return Text(value.encode())


def timestamptz(us: int) -> Timestamptz:
    """Pack a time, microseconds since 2000."""
    return Timestamptz(us.to_bytes(8, signed=True))


class _PackedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Packed) -> Data:
        return obj.data


def register(connection: AsyncConnection) -> None:
    """Teach a connection the classes of this module."""
    for shape in Packed.__subclasses__():
        dumper = type(f"{shape.__name__}Dumper", (_PackedDumper,), {"oid": shape.oid})
        connection.adapters.register_dumper(shape, dumper)
