"""The collector: takes agents' batches and heartbeats, commits them, evaluates and tells people."""
