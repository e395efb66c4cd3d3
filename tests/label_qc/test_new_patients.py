import pandas as pd
import pytest

from lesionforge.data.subject import read_brain
from lesionforge.label_qc import new_patients
from lesionforge.label_qc.config import NextConfig
from lesionforge.label_qc.worth import Worth


def test_an_undecided_detector_makes_a_label_worth_more(toy_cohort, monkeypatch):
    patients = [s for s in toy_cohort if s.group == "patient"][:3]
    peaks = iter([0.5, 0.1, 1.0])
    shape = read_brain(patients[0]).shape

    def predict(_detector, images, brain):
        assert images.shape == (2, *shape)
        return next(peaks) * brain

    monkeypatch.setattr(new_patients, "predict_probability", predict)
    worth, costs = Worth(2.0, None, 0.0, ""), NextConfig(reader_error=0.05)
    audited = pd.DataFrame({"risk": [0.1, 0.3]})
    actions = new_patients.value_new_patients(None, patients, audited, worth, costs)
    mean = (1.0 + 0.36 + 0.0) / 3
    assert [a.gain for a in actions] == pytest.approx([2 / mean, 0.72 / mean, 0.0])
    assert [a.risk for a in actions] == pytest.approx([0.4] * 3)
    peaks = iter([0.5] * 3)
    actions = new_patients.value_new_patients(None, patients, None, worth, costs)
    assert [a.risk for a in actions] == pytest.approx([0.1] * 3)
