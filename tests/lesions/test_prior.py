"""The prior finds again what made the masks it is fitted on, and says ribbon or blob."""

import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from lesionforge.data.cohort import write_subject
from lesionforge.data.subject import Subject, read_images
from lesionforge.errors import ConfigError, DataError, MaskError
from lesionforge.lesions.appearance import FAINT, measure_conspicuity
from lesionforge.lesions.config import LesionConfig
from lesionforge.lesions.growth import render_mask
from lesionforge.lesions.host import CLEARANCE_MM, keep_clear, read_host
from lesionforge.lesions.prior import LesionPrior, fit_prior, smooth_quantile
from lesionforge.lesions.sampling import sample_spec
from lesionforge.lesions.shape import describe_mask
from lesionforge.seeding import stream
from tests.contrasts import as_row
from tests.lesions.template_hosts import known_prior, template_host

PATIENTS = 10
NAMES = ("volume_mm3", "sphericity", "elongation", "spread", "depth_mm", "grey_share", "y_mm")


def write_patient(root, number, prior, voxel_mm=4.0):
    """A patient whose lesion is a draw of `prior`, bright in FLAIR."""
    host = template_host(number % 4, voxel_mm)
    subject = Subject(
        f"sub-p{number:02d}",
        "patient",
        "AB"[number % 2],
        root,
        False,
        (),
        channels=("T1w", "FLAIR"),
    )
    mask = render_mask(sample_spec(prior, host, stream(9, "train", number)), host)
    noise = stream(9, "noise", number).normal(0, 0.03, (2, *mask.shape))
    images = np.tensordot([[0.2, 0.45, 0.6], [0.15, 0.55, 0.45]], host.tissues, 1) + noise
    images[1] += 0.2 * mask
    images = (np.clip(images, 0, 1) * host.brain).astype(np.float32)
    maps = dict(zip(("CSF", "GM", "WM"), host.tissues, strict=True))
    volumes = {f"label-{name}_probseg": data for name, data in maps.items()}
    volumes |= {"T1w": images[0], "FLAIR": images[1]}
    volumes |= {"desc-brain_mask": host.brain, "label-lesion_mask": mask}
    write_subject(subject, volumes, host.grid, {})
    return subject, host, mask


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Patients whose lesions are draws of a known prior at 4 mm."""
    root = tmp_path_factory.mktemp("known")
    prior = known_prior("ribbon", 4000.0)
    return [write_patient(root, number, prior) for number in range(PATIENTS)]


@pytest.fixture(scope="module")
def fitted(cohort):
    return fit_prior([subject for subject, _, _ in cohort], LesionConfig())


def test_draws_of_the_fitted_prior_are_like_the_lesions_it_saw(cohort, fitted):
    assert fitted.style == "ribbon"
    seen = [describe_mask(mask, host) for _, host, mask in cohort]
    drawn = []
    for number in range(40):
        host = cohort[number % 4][1]
        spec = sample_spec(fitted, host, stream(10, "again", number))
        drawn.append(describe_mask(render_mask(spec, host), host))
    for name in NAMES:
        test = stats.ks_2samp([d[name] for d in seen], [d[name] for d in drawn])
        assert test.pvalue > 0.01, (name, test.statistic)
    # The same comparison must catch lesions that are of another kind.
    other = known_prior("blob", 30000.0)
    blobs = [
        describe_mask(render_mask(sample_spec(other, h, stream(11, "other", n)), h), h)
        for n, h in enumerate([cohort[i % 4][1] for i in range(20)])
    ]
    for name in ("volume_mm3", "inner_radius_mm", "ribbon_share"):
        assert stats.ks_2samp([d[name] for d in seen], [d[name] for d in blobs]).pvalue < 0.01


def test_lesions_are_recorded_and_json_round_trips(cohort, fitted):
    assert LesionPrior.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted
    volumes = [mask.sum() * 64.0 for _, _, mask in cohort]
    assert [lesion.volume_mm3 for lesion in fitted.lesions] == pytest.approx(volumes)
    limits = (min(volumes) / 1.25, max(volumes) * 1.25)
    assert fitted.volume_range_mm3 == pytest.approx(limits)
    subject, host, mask = cohort[3]
    assert fitted.lesions[3].subject == subject.id
    assert fitted.lesions[3].site == subject.site
    assert 1.0 < fitted.lesions[3].conspicuity < 3.0
    t1w, flair, _, white_flair, *_ = as_row(fitted.lesions[3].contrast)
    assert abs(t1w) < min(flair, white_flair) < 3.0  # these lesions are bright in FLAIR
    own = read_host(subject)
    assert own.forbidden[mask].all()
    far = np.linalg.norm(np.argwhere(mask)[0] - np.argwhere(~own.forbidden), axis=1).min() * 4.0
    assert far > CLEARANCE_MM
    assert np.array_equal(own.brain, host.brain)
    with pytest.raises(DataError, match="no mask prior"):
        LesionPrior.from_json({"style": "ribbon"})


def test_gliomas_are_blobs(tmp_path):
    prior = known_prior("blob", 40000.0)
    subjects = [write_patient(tmp_path, number, prior)[0] for number in range(4)]
    assert fit_prior(subjects, LesionConfig()).style == "blob"
    forced = fit_prior(subjects[:1], LesionConfig(style="ribbon"))
    assert forced.style == "ribbon"


def test_quantiles_keep_range_mean_and_order(fitted):
    quantiles = np.linspace(0, 1, 2001)
    volumes = fitted.volume_mm3(quantiles)
    assert (np.diff(volumes) >= 0).all()
    assert volumes[0] == pytest.approx(fitted.volume_range_mm3[0])
    assert volumes[-1] == pytest.approx(fitted.volume_range_mm3[1])
    assert (fitted.conspicuity(quantiles) >= FAINT).all()
    values = stream(0, "normal").normal(5, 2, 400)
    back = smooth_quantile(values, quantiles, (-5, 15), 1.0)
    assert back.mean() == pytest.approx(values.mean(), abs=0.05)
    assert back.std() == pytest.approx(values.std(), rel=0.03)
    assert smooth_quantile(np.array([3.0]), 0.5, (2.0, 4.0), 1.0) == pytest.approx(3.0, abs=0.01)


def test_faults_are_named(toy_cohort):
    with pytest.raises(MaskError, match="No training patient"):
        fit_prior([s for s in toy_cohort if s.group == "control"], LesionConfig())
    with pytest.raises(ConfigError, match="`place_floor` must be in"):
        LesionConfig(place_floor=1.4)


def test_conspicuity_is_the_public_measure(cohort, fitted):
    subject, _, mask = cohort[0]
    host = read_host(subject)  # healthy anatomy, not the maps that the lesion may distort
    shown = measure_conspicuity(
        read_images(subject), mask, host.tissues, host.brain, host.grid.voxel_mm
    )
    assert fitted.lesions[0].conspicuity == pytest.approx(shown.total, rel=1e-4)


def write_many(root, host, prior, lesions):
    """A patient with several lesions, each as bright in FLAIR as `lesions` says (robust SDs)."""
    masks, taken = [], host.forbidden
    for number, _ in enumerate(lesions):
        free = dataclasses.replace(host, forbidden=taken)
        spec = sample_spec(prior, free, stream(12, "many", number))
        masks.append(render_mask(spec, free))
        taken = taken | keep_clear(masks[-1], host.grid)
    images = np.tensordot([[0.2, 0.45, 0.6], [0.15, 0.55, 0.45]], host.tissues, 1)
    images += stream(12, "noise").normal(0, 0.01, images.shape)
    for mask, bright in zip(masks, lesions, strict=True):
        images[1] += 0.1 * bright * mask
    subject = Subject("sub-p99", "patient", "A", root, channels=("T1w", "FLAIR"))
    maps = dict(zip(("CSF", "GM", "WM"), host.tissues, strict=True))
    volumes = {f"label-{name}_probseg": data for name, data in maps.items()}
    images = (np.clip(images, 0, 1) * host.brain).astype(np.float32)
    volumes |= {"T1w": images[0], "FLAIR": images[1], "desc-brain_mask": host.brain}
    volumes["label-lesion_mask"] = np.any(masks, axis=0)
    write_subject(subject, volumes, host.grid, {})
    return subject, masks


def test_every_lesion_of_a_patient_is_fitted_by_itself(cohort, tmp_path):
    host = cohort[0][1]
    bright = (1.0, 2.0, 3.0)
    subject, masks = write_many(tmp_path, host, known_prior("ribbon", 3000.0), bright)
    fitted = fit_prior([subject, cohort[1][0]], LesionConfig(style="ribbon"))
    assert fitted.counts == (1, 3)
    assert [fitted.count(q) for q in (0.0, 0.49, 0.5, 1.0)] == [1, 1, 3, 3]
    mine = {round(x.volume_mm3): x for x in fitted.lesions if x.subject == subject.id}
    own = [mine[round(mask.sum() * host.grid.voxel_mm3)] for mask in masks]
    flair = [lesion.contrast[1][0][0] for lesion in own]  # in its grey matter
    scale = np.array(flair) / bright  # above 1: the soft mask and the tissues' shares are below 1
    assert scale == pytest.approx(np.full(3, scale.mean()), rel=0.2)
    assert 1 < scale.mean() < 2
    assert LesionPrior.from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


def test_small_lesions_are_left_out_but_never_a_patients_last(cohort, tmp_path):
    subject, masks = write_many(tmp_path, cohort[0][1], known_prior("ribbon", 3000.0), (2.0, 2.0))
    sizes = sorted(mask.sum() * 64.0 for mask in masks)
    between = LesionConfig(style="ribbon", min_volume_mm3=sum(sizes) / 2)
    assert [x.volume_mm3 for x in fit_prior([subject], between).lesions] == pytest.approx(sizes[1:])
    beyond = LesionConfig(style="ribbon", min_volume_mm3=10 * sizes[1])
    assert [x.volume_mm3 for x in fit_prior([subject], beyond).lesions] == pytest.approx(sizes[1:])


def test_few_searched_growths_stand_for_lesions_of_their_volume(cohort, fitted):
    subjects = [subject for subject, _, _ in cohort]
    few = fit_prior(subjects, LesionConfig(max_growths=3))
    own = {x.growth for x in fitted.lesions}
    assert {x.growth for x in few.lesions} < own
    assert len({x.growth for x in few.lesions}) == 3
    assert [x.volume_mm3 for x in few.lesions] == [x.volume_mm3 for x in fitted.lesions]
