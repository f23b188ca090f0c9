"""The model of tailing, with rotated files that come back to where files are looked for."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from tests.agent.test_model import Tailing


class Returning(Tailing):
    """A rotated file gets a name under which a source looks, and may grow."""

    @precondition(lambda self: self.rotated)
    @rule(data=st.data(), lines=st.integers(0, 3))
    def come_back(self, data: st.DataObject, lines: int) -> None:
        """Its stream goes on, or it is read again and marked, whether it had ended or not."""
        life = data.draw(st.sampled_from(self.rotated))
        target = life.path.with_name(f"back-{next(self.generations)}.log")
        life.path.rename(target)
        life.path = target
        self._append(life, lines, partial=False)


@pytest.mark.usefixtures("leases")
def test_what_comes_back_is_not_stored_twice_and_not_lost() -> None:
    """In any order with growth, rotation, crashes and outages."""
    run_state_machine_as_test(
        Returning,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
