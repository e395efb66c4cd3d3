"""Volumes, subjects, cohorts, label sets and splits on disk."""
