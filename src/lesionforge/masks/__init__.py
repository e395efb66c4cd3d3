"""Lesion masks: a prior fitted on training masks, a frozen draw, a pure rendering."""
