"""`outrider up`: everything on one machine, in one process tree."""
