"""Lesions: a prior fitted on training lesions, sampling, growth, appearance."""
