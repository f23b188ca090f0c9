"""The audit log: rows that nobody changes, sealed as they come, provable by one command.

Pure: ``canonical`` (what is hashed and how: read it first), ``entries`` (which records are audit
rows, and what their columns say), ``proof`` (seals and rows compared). With the database: ``log``
(adding rows), ``months`` (the partitions), ``seals`` (the loop that seals), ``publishing`` (heads
to a channel), ``verify``.
"""
