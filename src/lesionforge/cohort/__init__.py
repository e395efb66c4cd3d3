"""Subjects and cohorts: phantoms, BIDS folders, preparation, splits."""
