import numpy as np
import pytest

from lesionforge.data.subject import read_brain
from lesionforge.label_qc.evidence import read_evidence
from lesionforge.metrics.config import CandidateRules
from lesionforge.report.pages import labels as label_page


@pytest.fixture
def evidence(toy_cohort):
    """A control with two candidates far from each other."""
    subject = next(s for s in toy_cohort if s.group == "control")
    brain = read_brain(subject)
    inside = np.argwhere(brain)
    seen = np.zeros(brain.shape, np.float32)
    for score, place in ((0.9, inside[len(inside) // 4]), (0.6, inside[3 * len(inside) // 4])):
        seen[tuple(slice(i - 1, i + 2) for i in place)] = score
    return read_evidence(subject, seen * brain, CandidateRules())


def test_a_label_without_a_mask_is_shown_at_the_candidate_that_it_was_judged_by(
    monkeypatch, evidence
):
    places = []
    cut = label_page.cut
    monkeypatch.setattr(
        label_page, "cut", lambda volume, view, at: places.append(at) or cut(volume, view, at)
    )
    assert len(evidence.candidates) == 2
    nothing = np.zeros(evidence.brain.shape, bool)
    for number in (1, 2):
        places.clear()
        label_page.plot_label(evidence, nothing, number)
        candidate = next(c for c in evidence.candidates if c.number == number)
        assert set(places) == {tuple(candidate.voxels.mean(axis=0).round().astype(int).tolist())}
