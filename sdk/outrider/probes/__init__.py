"""Probes: what is looked at from outside, at an interval, by an agent or a collector.

::

    spec ──▶ runner ── thread ──▶ kind's function(spec, deadline) ──▶ Result
                │                                                       │
                └──────── judge (rise, fall, expired) ◀─────────────────┘
                              │
                              └──▶ Report: the state of one component, with facts

``result`` says what one look gives, ``spec`` what the configuration says, ``judge`` (pure) turns
results into a state, ``look`` makes one look, ``runner`` holds the threads. Each kind is one file
with one function. They block, use the standard library only, and obey a
:class:`~outrider.probes.deadline.Deadline`. What needs a library (gRPC's health service, Postgres)
is a function that agent or collector passes in.
"""
