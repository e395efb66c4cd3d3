"""From raw scans to a cohort on one grid: checks, registration, brain mask, tissues."""
