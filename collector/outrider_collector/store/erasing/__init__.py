"""``outrider store purge``: records that match a filter are erased, and what was erased is told.

Blocks are rewritten without them, in short transactions; each leaves its gap rows (reason
``erased``, how many, of which stream, never what they said) and erases the copies that alerts and
their messages hold. A run that was cut off has erased whole transactions: the next goes on.

Pure: ``records`` (which records of a block match), ``copies`` (copies of records in JSON). With the
database: ``levels`` (reading and rewriting blocks), ``traces`` (gap rows, copies), ``aside``
(quarantine, copies of records that are gone, what stays in the audit log), ``purge`` (the order of
it all).
"""
