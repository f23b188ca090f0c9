"""The agent: runs beside the workers, reads what they log and delivers it to a collector, once."""

VERSION = "0.1.0"
"""The distribution's version, kept the same by a test: to ask the metadata would cost 3 MB."""
