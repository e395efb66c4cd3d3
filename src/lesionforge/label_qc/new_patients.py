"""What would the label of a patient be worth who has none yet? A detector's look at the images."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from tqdm import tqdm

from lesionforge.data.subject import Subject, read_brain, read_images
from lesionforge.detection.inference import TrainedDetector, predict_probability
from lesionforge.label_qc.config import NextConfig
from lesionforge.label_qc.next_cases import Action, label_actions
from lesionforge.label_qc.worth import Worth


def value_new_patients(
    detector: TrainedDetector,
    patients: Sequence[Subject],
    audited: pd.DataFrame | None,
    worth: Worth,
    config: NextConfig,
) -> list[Action]:
    """Value the labels of patients that the detector has not been trained on.

    The detector's uncertainty about a patient is 4 p (1 - p), p being the highest probability of a
    lesion; labels are not read. New labels are expected to be wrong as often as the audit finds
    given ones to be, or as often as a reader errs where there was no audit.

    Args:
        detector: trained on the labels that there are.
        patients: without a label.
        audited: the labels that there are, as `audit_labels` returns them.
        worth: see `Worth`.
        config: costs.
    """
    peaks = highest_probabilities(detector, patients, "unlabelled patients", lambda p, _: p)
    rate = config.reader_error if audited is None else float(audited["risk"].mean())
    uncertainty = {name: 4 * peak * (1 - peak) for name, peak in peaks.items()}
    return label_actions(uncertainty, rate, worth, config)


def highest_probabilities(
    detector: TrainedDetector,
    subjects: Sequence[Subject],
    what: str,
    where: Callable[[np.ndarray, Subject], np.ndarray],
) -> dict[str, float]:
    """Return each subject's highest probability of a lesion, by participant id.

    Args:
        detector: that predicts.
        subjects: to be looked at.
        what: they are, for the progress bar.
        where: takes the map (X, Y, Z) and the subject, and returns the map of the place that
            counts.
    """
    return {
        s.id: float(where(predict_probability(detector, read_images(s), read_brain(s)), s).max())
        for s in tqdm(subjects, desc=f"look at {what}", unit="subject")
    }
