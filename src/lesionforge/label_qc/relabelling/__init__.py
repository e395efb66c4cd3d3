"""Active relabelling for any classifier: DARL, ActiveLab, DFAL."""
