"""Detection metrics and their intervals: pure functions of arrays and tables."""
