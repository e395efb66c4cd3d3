"""Synthetic patients and controls: plan, sample, render, check, write."""
