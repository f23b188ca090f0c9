"""One look, whatever comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outrider.probes.deadline import Deadline
from outrider.probes.reach import ReachError
from outrider.probes.result import Result, State

if TYPE_CHECKING:
    from outrider.probes.spec import Spec


def look(spec: Spec[Any]) -> Result:
    """Look once, now; whatever goes wrong is a result."""
    deadline = Deadline(spec.timeout_s)
    try:
        return spec.kind.look(spec, deadline)
    except ReachError as error:
        state: State = "unknown" if error.step == "blocked" else "down"
        return Result(state, error.reason, deadline.took_ms())
    except TimeoutError:
        return Result("down", f"no answer within {spec.timeout_s:g} s", deadline.took_ms())
    except Exception as bug:  # noqa: BLE001  one probe's bug must not end the others
        return Result("unknown", f"a bug in the probe: {type(bug).__name__}: {bug}")
