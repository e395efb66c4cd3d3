"""Contrast changes of two channels as a plain row: each channel by tissue, in and then around."""

import numpy as np

from lesionforge.lesions.contrast import ContrastChange, as_contrast


def in_rows(*values: float) -> ContrastChange:
    """Read T1w, FLAIR in grey, T1w, FLAIR in white matter, then the same four around the lesion."""
    row = np.zeros(8)
    row[: len(values)] = values
    return as_contrast(row.reshape(2, 2, 2).transpose(2, 1, 0))


def as_row(contrast: ContrastChange | np.ndarray) -> np.ndarray:
    """Turn `in_rows` round."""
    return np.asarray(contrast).transpose(2, 1, 0).ravel()
