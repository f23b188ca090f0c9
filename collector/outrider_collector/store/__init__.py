"""The store: everything Outrider keeps, in plain Postgres, and the only place that speaks to it.

* ``database_url``: where the database is. ``connect``: connections, their session settings, and the
  border where driver errors become faults. ``binary``: parameters that are packed already.
  ``pipeline``: several statements at once.
* ``schema``, ``migrations/``, ``roles``: what the tables are, who may do what, who sees which team.
  ``advisory``: what every login may do to others, and readers may not.
* ``attaching``, ``partitions``, ``housekeeping``: hours of blocks made ahead and dropped in time,
  small tables kept small. ``compaction/``: the second level of blocks (README).
* ``writer`` is the way in. One transaction claims offsets (``claim``, ``claim_sql``), inserts
  blocks (``blocks``, ``record_columns``), gaps and hits (``rows``), sorts out what Postgres
  refuses (``quarantine``), and ends with a row in the ``feed``, whose order is commit order.
* ``budget/``: how full the store is, when it will be full, and what goes when it is.
* ``audit/``: the audit log, its seals and their proof. ``erasing/``: ``outrider store purge``.
* ``agents``, ``streams``: who writes, and from where. ``leases``: who alone may act.
* ``rules``, ``acts``, ``evaluation``, ``rule_states``, ``sources``, ``last_words``, ``alerts``: the
  statements of alerting. ``ledger``, ``shown``, ``outbox``, ``leaving``, ``outcomes``,
  ``outdated``, ``pressed``, ``trials``, ``incidents``: who is told of what, what messages tell,
  those on the way out, the moment they leave, what became of them, edits, buttons, tests of
  channels, what was told without a database.
* ``health``, ``overdue``: the statements of liveness, and of silence. ``uptime``: how long each
  state lasted, by day. ``canary``: whether alerting works. ``database_probe``: a probe that asks a
  database.
* ``reading/``: the way out, under the read-only role.
* ``stats``: what there is, in figures.
"""
