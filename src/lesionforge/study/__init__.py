"""A study: its configuration, its regimes and its runs on disk."""
