"""The store's fixtures, and a log with two seals."""

from tests.collector.store.conftest import connection, store

__all__ = ["connection", "store"]
