"""Alerting: what the rules mean, what they conclude, and who is told.

Everything here but :mod:`outrider_alerting.channels` is pure: no clock, no database, no network.
The collector counts hits in the ingest path (:mod:`.hits`), takes one evaluation step after the
other (:mod:`.engine`), and asks the policy who is to be told (:mod:`.policy`); it stores what comes
back before anything is announced. The same inputs give the same transitions, byte for byte.
"""
