"""The states of an alert, for any sequence of findings."""

from __future__ import annotations

from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from outrider_alerting.episodes import Episode, Finding, State, next_state

findings = st.lists(st.tuples(st.sampled_from(get_args(Finding)), st.integers(0, 100)), max_size=40)


def _states(script: list[tuple[Finding, int]]) -> list[tuple[State, State, Episode]]:
    episode, moves = Episode(), []
    for finding, at in script:
        after = episode.moved(finding, at)
        if after is not episode:
            moves.append((episode.state, after.state, after))
        episode = after.over()
    return moves


@settings(deadline=None)
@given(findings)
def test_no_second_firing_without_an_end(script: list[tuple[Finding, int]]) -> None:
    """Between two first firings there is always a resolve; a resolve always closes something."""
    is_open = False
    for before, after, episode in _states(script):
        if before == "inactive":
            assert not is_open
            is_open = True
        if after == "resolved":
            assert is_open
            is_open = False
        assert after != "inactive"
        assert episode.is_open == is_open


@settings(deadline=None)
@given(findings)
def test_times_of_an_episode_stay(script: list[tuple[Finding, int]]) -> None:
    """An episode keeps its start and its first firing through all its states."""
    started: int | None = None
    fired: int | None = None
    for before, after, episode in _states(script):
        if before == "inactive":
            started, fired = episode.started_us, None
        if after == "firing" and fired is None:
            fired = episode.fired_us
        assert (episode.started_us, episode.fired_us) == (started, fired)
        assert (after == "recovering") == (episode.ceased_us is not None)


@settings(deadline=None)
@given(findings)
def test_only_a_firing_recovers(script: list[tuple[Finding, int]]) -> None:
    """What was only pending resolves without ever having fired."""
    for before, after, episode in _states(script):
        if before == "pending" and after == "resolved":
            assert episode.fired_us is None
        if after == "recovering":
            assert before == "firing"


def test_nothing_but_findings_moves_an_episode() -> None:
    """From inactive only a condition that holds leads anywhere; resolved leads nowhere."""
    assert next_state("inactive", "ceased") is None
    assert next_state("inactive", "withdrawn") is None
    assert all(next_state("resolved", finding) is None for finding in get_args(Finding))
    for state in ("pending", "firing", "recovering"):
        assert next_state(state, "withdrawn") == "resolved"


def test_the_start_may_lie_before_the_firing() -> None:
    """With `for`, an episode starts when the condition began, not when it fired."""
    episode = Episode().moved("lasted", 50, started_us=20)

    assert (episode.started_us, episode.fired_us) == (20, 50)
