"""The second level of the store: how fresh blocks become full, sorted, searchable ones.

Pure: ``classes`` (how long a record is kept), ``tokens`` and ``bloom`` (what a word leaves in a
block's filter), ``plan`` (which blocks go together), ``merge`` (records of many blocks into few).
With the database: ``days`` (the partitions), ``move`` (one transaction), ``compactor`` (the loop).
"""
