"""The agent: runs beside the workers, reads what they log and delivers it to a collector, once."""

VERSION = "0.1.0"
"""The distribution's version; asking the installed metadata for it would cost 3 MB of memory."""
