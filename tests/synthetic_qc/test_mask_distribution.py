"""Drawn masks are described as the lesions of patients are."""

from dataclasses import replace

import pytest

from lesionforge.data.cohort import subject_volumes, write_subject
from lesionforge.data.subject import read_brain, read_grid, read_images, read_lesion, read_tissues
from lesionforge.lesions.config import LesionConfig
from lesionforge.lesions.growth import render_mask
from lesionforge.lesions.host import read_host
from lesionforge.lesions.prior import fit_prior
from lesionforge.lesions.sampling import sample_spec
from lesionforge.lesions.shape import describe_mask
from lesionforge.seeding import stream
from lesionforge.synthesis.plan import sample_requests
from lesionforge.synthetic_qc.mask_distribution import sample_shapes
from lesionforge.synthetic_qc.subject_features import measure_subject


def test_a_drawn_mask_is_described_as_on_a_patient_who_has_that_lesion(toy_cohort, tmp_path):
    prior = fit_prior(toy_cohort[:1], LesionConfig())
    control = next(s for s in toy_cohort if s.group == "control")
    request = sample_requests(prior, 1, 0)[0].relax_location()
    (found,) = sample_shapes(prior, [control], [request], 0)

    host = read_host(control)
    drawn = sample_spec(prior, host, stream(0, "audit", "mask", request.number), request.lesion)
    mask = render_mask(drawn, host)
    patient = replace(control, group="patient", root=tmp_path)
    images, tissues, brain = read_images(control), read_tissues(control), read_brain(control)
    volumes = subject_volumes(("T1w", "FLAIR"), images, brain, tissues, mask)
    write_subject(patient, volumes, read_grid(control), {})

    shape = measure_subject(patient, read_lesion(patient), patient.id).shape
    assert shape == pytest.approx(found, rel=1e-4)
    assert describe_mask(mask, host) != pytest.approx(found, rel=1e-2)
