"""Commits that fail: told at once, seldom after that, and until they succeed."""

from __future__ import annotations

from outrider.errors import Fault
from outrider_collector.ingest.complaint import Complaint

FULL = Fault("STORE_FULL", detail="could not extend file base/1/2", sqlstate="53100")


def test_an_outage_is_told_at_its_start_at_doubling_intervals_and_at_its_end() -> None:
    """A failure every second for an hour: 0, 30, 90, 210 ... seconds after the first."""
    complaint = Complaint()
    told = {at: said for at in range(3_600) if (said := complaint.failed(FULL, 100.0 + at))}

    assert list(told) == [0, 30, 90, 210, 450, 930, 1890]
    assert told[0] == (
        "commits fail: no space left on device: free room on the database's disk: "
        "agents keep what they hold"
    )
    assert told[90] == (
        "commits fail for 90 s: no space left on device: free room on the database's disk"
    )
    assert complaint.over(3_700.0) == "commits succeed again, after 3600 s"
    assert complaint.over(3_701.0) == ""


def test_the_collectors_row_says_since_when_and_why() -> None:
    """The last reason stands beside the time of the first failure; afterwards nothing does."""
    complaint = Complaint()
    well = {"failing_for_s": 0.0, "failing_reason": "", "failing_sqlstate": ""}
    assert complaint.status(5.0) == well
    complaint.failed(Fault("STORE_DOWN", detail="cannot reach the database"), 10.0)
    complaint.failed(FULL, 12.0)

    assert complaint.status(13.5) == {
        "failing_for_s": 3.5,
        "failing_reason": "no space left on device: free room on the database's disk",
        "failing_sqlstate": "53100",
    }
    complaint.over(14.0)
    assert complaint.status(15.0) == well
