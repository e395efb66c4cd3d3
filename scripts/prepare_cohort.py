"""Prepare the cohort of a study: phantoms by default, or a BIDS-like folder (--cohort.bids DIR)."""

from lesionforge.cli import script

if __name__ == "__main__":
    script("prepare")
