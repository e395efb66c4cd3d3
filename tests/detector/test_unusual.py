"""What looks unusual is found without labels, and lesions are left to their own patches."""

import numpy as np
from scipy import ndimage

from lesionforge.detector.unusual import TOP_SHARE, unusual_places
from lesionforge.masks.host import CLEARANCE_MM
from lesionforge.seeding import stream

SHAPE, MM = (40, 44, 40), (2.5, 2.5, 2.5)


def head(seed):
    """A folded brain of two tissues with noise, a slow coil field, and no lesion."""
    rng = stream(seed, "unusual")
    x, y, z = np.indices(SHAPE) - (np.array(SHAPE)[:, None, None, None] - 1) / 2
    brain = np.sqrt(x**2 + y**2 + z**2) < 18
    white = np.clip(0.5 + np.sin(x / 2) + np.sin(y / 2.4 + 1) + np.sin(z / 2.2), 0, 1)
    tissues = np.stack([0 * white, 1 - white, white]) * brain
    clean = [np.tensordot(levels, tissues, 1) for levels in ([0.1, 0.45, 0.62], [0.1, 0.56, 0.48])]
    noise = ndimage.gaussian_filter(rng.normal(size=(2, *SHAPE)), (0, 0.6, 0.6, 0.6))
    images = (np.stack(clean) + 0.04 * noise / noise.std()) * (1 + 0.002 * x) * brain
    return images, tissues, brain


def ball(centre, radius):
    index = np.indices(SHAPE).transpose(1, 2, 3, 0)
    return np.linalg.norm(index - centre, axis=-1) < radius


def test_a_faint_patch_stands_out_whichever_way_it_differs():
    nothing = np.zeros(SHAPE, bool)
    for seed, (t1w, flair) in enumerate([(-0.06, 0.0), (0.0, 0.08), (0.0, -0.08), (0.05, 0.05)]):
        images, tissues, brain = head(seed)
        blob = ball((26, 24, 18), 3.5)
        images = images + np.array([t1w, flair])[:, None, None, None] * blob
        found = unusual_places(images, tissues, brain, nothing, MM)
        assert len(found) == round(TOP_SHARE * brain.sum())
        assert blob[tuple(found.T)].mean() > 0.3  # by chance: 0.007
        assert brain[tuple(found.T)].all()


def test_lesions_and_what_lies_near_are_left_out():
    images, tissues, brain = head(0)
    blob = ball((26, 24, 18), 3.5)
    images = images + 0.2 * blob
    found = unusual_places(images, tissues, brain, blob, MM)
    away = ndimage.distance_transform_edt(~blob, sampling=MM)[tuple(found.T)]
    assert len(found)
    assert away.min() > CLEARANCE_MM
    assert len(unusual_places(images, tissues, brain, brain, MM)) == 0
