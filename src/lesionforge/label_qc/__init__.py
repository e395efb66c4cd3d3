"""Audit of labels: which label should an expert check next."""
