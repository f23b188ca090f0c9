"""No false states over many simulated hours: what the suite does for minutes, a hundred times."""

from __future__ import annotations

import os

import pytest

from tests.collector.service.test_false_states import disturbed, false_states

SEEDS, HOURS = 100, 1


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.skipif("OUTRIDER_CHAOS_ROUNDS" not in os.environ, reason="minutes: make chaos runs it")
def test_no_false_states_in_many_hours() -> None:
    """Restarts, moves, clocks set by a day and an hour of backlog, over a hundred hours."""
    found = {seed: false_states(disturbed(1_000 + seed, HOURS)) for seed in range(SEEDS)}
    print(f"{SEEDS} seeds of {HOURS} h: {sum(map(len, found.values()))} false states")

    assert not any(found.values()), {seed: changes for seed, changes in found.items() if changes}
