"""The store: everything Outrider keeps, in plain Postgres, and the only place that speaks to it.

* ``connect``: connections, their session settings, and the border where driver errors become
  faults.
* ``schema``, ``migrations/``, ``roles``: what the tables are and who may read them.
* ``partitions``, ``housekeeping``: hours of blocks made ahead and dropped in time.
* ``blocks``, ``claim``, ``writer``, ``feed``: the way in. One transaction claims offsets, inserts
  blocks, gaps and hits, and ends with a row in the feed, whose order is commit order.
* ``agents``, ``streams``, ``leases``: who writes, from where, and who alone may act.
* ``reading/``: the way out, under the read-only role.
"""
