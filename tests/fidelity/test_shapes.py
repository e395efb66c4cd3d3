"""Drawn masks are described as the lesions of patients are."""

from dataclasses import replace

import pytest

from lesionforge.cohort.bids import subject_volumes, write_subject
from lesionforge.cohort.subject import read_brain, read_grid, read_images, read_lesion, read_tissues
from lesionforge.fidelity.portrait import draw_portrait
from lesionforge.fidelity.shapes import draw_shapes
from lesionforge.generator.wishes import draw_wishes
from lesionforge.masks.descriptors import describe_mask
from lesionforge.masks.host import read_host
from lesionforge.masks.prior import MaskConfig, fit_prior
from lesionforge.masks.render import render_mask
from lesionforge.masks.sample import sample_spec
from lesionforge.seeding import stream


def test_a_drawn_mask_is_described_as_on_a_patient_who_has_that_lesion(toy_cohort, tmp_path):
    prior = fit_prior(toy_cohort[:1], MaskConfig())
    control = next(s for s in toy_cohort if s.group == "control")
    wish = draw_wishes(prior, 1, 0)[0].loosened()
    (found,) = draw_shapes(prior, [control], [wish], 0)

    host = read_host(control)
    drawn = sample_spec(prior, host, stream(0, "audit", "mask", wish.number), wish.lesion)
    mask = render_mask(drawn, host)
    patient = replace(control, group="patient", root=tmp_path)
    images, tissues, brain = read_images(control), read_tissues(control), read_brain(control)
    volumes = subject_volumes(images, brain, tissues, mask)
    write_subject(patient, volumes, read_grid(control), {})

    shape = draw_portrait(patient, read_lesion(patient), patient.id).shape
    assert shape == pytest.approx(found, rel=1e-4)
    assert describe_mask(mask, host) != pytest.approx(found, rel=1e-2)
