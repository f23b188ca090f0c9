"""Alerts inside a collector: evaluation from the feed, delivery from the outbox."""
