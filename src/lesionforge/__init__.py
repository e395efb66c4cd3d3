"""Synthetic labelled MRI for rare lesions: mask first, image second, then honest controls."""

__version__ = "0.1.0"
