"""Everything that we know of one account, in one DuckDB file: rows, cursors, runs, predictions, ledger."""

from connector.mirror.mirror import Mirror

__all__ = ["Mirror"]
