"""What a message of the wire may hold: one place for both sides.

The comments of the ``.proto`` files say the same to those who read only them. A collector refuses
what is larger, an agent makes nothing that is.
"""

from __future__ import annotations

from typing import Final

from outrider.probes.result import MAX_TEXT_BYTES
from outrider.probes.spec import MAX_PROBES

WIRE_VERSION: Final = 1
"""The one version there is; Hello and Welcome negotiate it."""

MAX_RECORDS: Final = 16_384
"""Records of one batch."""

MAX_STREAMS_A_MESSAGE: Final = 1_000
"""Streams that one message opens."""

MAX_WORKERS: Final = 5_000
"""Workers in one heartbeat."""

MAX_COMPONENTS: Final = MAX_PROBES
"""Components that probes look at, in one heartbeat."""

MAX_FACTS: Final = 32
"""Facts of one component."""

MAX_FACT_BYTES: Final = MAX_TEXT_BYTES
"""Of a fact's name, of its text, and of a component's reason."""
