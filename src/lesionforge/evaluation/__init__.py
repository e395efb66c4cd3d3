"""Matching, metrics, statistics and image measurements: pure functions of arrays and tables."""
