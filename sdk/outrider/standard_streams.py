"""What a service says on its standard streams: nobody can be told where these take nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import TextIO


def tell(text: str, stream: TextIO) -> None:
    """Write and flush, or give it up.

    A disk that is full, or a reader that has gone, must not end what runs on.
    """
    with suppress(OSError):
        stream.write(text)
        stream.flush()
