"""Audit of synthetic data: conditioning, realism, memorization, diversity."""
