"""The second level of the store: how fresh blocks become full, sorted, searchable ones.

Pure: ``classes`` (how long a record is kept), ``tokens`` and ``bloom`` (what a search asks a filter
for), ``checksums`` (what a block's filter is made of), ``sheets`` (filters of many blocks turned
round), ``transpose`` (how they are turned), ``plan`` (which blocks go together), ``raw`` and
``merge`` (records of many blocks into few). With the database: ``days`` (the partitions), ``move``
(one transaction), ``sheeting`` (sheets are made), ``compactor`` (the loop). ``memory`` tells the C
library to keep what a move frees.
"""
