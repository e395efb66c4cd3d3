"""Any list of contrasts: the same head, the same place, whatever is there and in whatever order."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.data.volume import Volume, grid
from lesionforge.errors import DataError
from lesionforge.preprocessing.brain import find_brain
from lesionforge.preprocessing.config import PrepareConfig
from lesionforge.preprocessing.pipeline import prepare_images, prepare_lesion
from lesionforge.preprocessing.resample import resample
from lesionforge.preprocessing.scan import PreparedScan
from lesionforge.preprocessing.tissues import template

CONFIG = PrepareConfig(voxel_mm=4.0, levels_mm=(8.0, 5.0), tilts_deg=(0.0,))
VALUES = {"T1w": (0.25, 0.5, 0.7), "FLAIR": (0.2, 0.6, 0.5), "T2w": (0.9, 0.55, 0.4)}
"""Of CSF, grey and white matter."""
LESION_MNI = np.array([32.0, 20.0, 34.0])


def _move(angles_deg: tuple[float, ...], shift: tuple[float, ...]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


MOVES = {
    "T1w": np.eye(4),
    "FLAIR": _move((4, 2, -3), (3, -4, 5)),
    "T2w": _move((-3, 1, 2), (-4, 3, -2)),
}
HEAD = _move((6, -3, 4), (5, 12, -8)) @ np.diag([0.95, 1.03, 0.97, 1])
GRIDS = {
    "T1w": grid((56, 66, 56), _move((0, 0, 0), (-80, -95, -95)) @ np.diag([3, 3, 3, 1])),
    "FLAIR": grid((70, 80, 38), _move((3, 0, 0), (-90, -110, -95)) @ np.diag([2.5, 2.5, 4, 1])),
    "T2w": grid((60, 70, 60), _move((0, 2, 0), (-90, -105, -100)) @ np.diag([3, 3, 3, 1])),
}


@lru_cache
def _scan(channel: str) -> tuple[Volume, Volume]:
    """A stripped head in one contrast, moved, and its lesion on the same grid."""
    target, mni_from_scan = GRIDS[channel], np.linalg.inv(MOVES[channel] @ HEAD)
    gm, wm = (resample(v, target, mni_from_scan) for v in template()[1:])
    brain = ndimage.binary_fill_holes(gm + wm > 0.3)
    csf_value, gm_value, wm_value = VALUES[channel]
    image = csf_value * np.clip(1 - gm - wm, 0, 1) + gm_value * gm + wm_value * wm
    place = target.world(np.indices(target.shape).transpose(1, 2, 3, 0))
    mni = place @ mni_from_scan[:3, :3].T + mni_from_scan[:3, 3]
    lesion = (np.linalg.norm(mni - LESION_MNI, axis=-1) < 12) & brain
    noise = np.random.default_rng(len(channel)).normal(0, 0.02, image.shape)
    data = np.maximum((image + 0.3 * lesion + noise) * 800 * brain, 0)
    return Volume(data.astype(np.float32), target), Volume(lesion.astype(np.float32), target)


@lru_cache
def _prepared(*channels: str) -> PreparedScan:
    return prepare_images({channel: _scan(channel)[0] for channel in channels}, None, CONFIG)


LISTS = [("T1w",), ("FLAIR",), ("T2w", "FLAIR"), ("T1w", "T2w", "FLAIR")]


@pytest.mark.parametrize("channels", LISTS, ids="+".join)
def test_any_list_of_contrasts_lies_on_the_template(channels: Sequence[str]) -> None:
    scan = _prepared(*channels)
    assert scan.images.shape == (len(channels), *scan.grid.shape)
    assert scan.figures["mni_dice"] > 0.95
    assert all(f"noise_{channel.lower()}" in scan.figures for channel in channels)
    for channel in channels:
        lesion, found, rows = prepare_lesion(scan, _scan(channel)[1], channel)
        centre = scan.grid.world(np.array(ndimage.center_of_mass(lesion)))
        assert np.linalg.norm(centre - LESION_MNI) < 3
        assert found["lesion_ml"] == pytest.approx(7.2, rel=0.2)
        assert [row["fate"] for row in rows] == ["kept"]


@pytest.mark.parametrize("channels", LISTS, ids="+".join)
def test_tissues_are_found_whatever_the_contrast(channels: Sequence[str]) -> None:
    scan = _prepared(*channels)
    brain = scan.volumes["desc-brain_mask"].astype(bool)
    least = 0.75 if channels == ("FLAIR",) else 0.88  # grey and white matter differ little there
    truth = [resample(v, scan.grid) > 0.5 for v in template()[1:]]
    for name, true in zip(("GM", "WM"), truth, strict=True):
        found = scan.volumes[f"label-{name}_probseg"] > 0.5
        assert 2 * (found & true).sum() / (found.sum() + (true & brain).sum()) > least


def test_the_order_of_the_other_channels_does_not_matter() -> None:
    one, other = _prepared("T1w", "T2w", "FLAIR"), _prepared("T1w", "FLAIR", "T2w")
    np.testing.assert_allclose(other.images[[0, 2, 1]], one.images, atol=1e-5)
    for name in ("CSF", "GM", "WM"):
        suffix = f"label-{name}_probseg"
        np.testing.assert_allclose(other.volumes[suffix], one.volumes[suffix], atol=1e-3)
    assert other.figures == pytest.approx(one.figures, rel=1e-3, abs=1e-4)


def test_an_added_channel_leaves_the_reference_in_its_place() -> None:
    alone, with_others = _prepared("T1w"), _prepared("T1w", "T2w", "FLAIR")
    np.testing.assert_array_equal(alone.reference_from_mni, with_others.reference_from_mni)
    assert np.corrcoef(alone.images[0].ravel(), with_others.images[0].ravel())[0, 1] > 0.98


def _whole(channel: str) -> Volume:
    """The head with scalp and noisy air around it."""
    image = _scan(channel)[0]
    away = ndimage.distance_transform_edt(image.data == 0, sampling=image.grid.voxel_mm)
    air = np.abs(np.random.default_rng(0).normal(0, 20, image.data.shape))
    scalp = 600 * ((away > 9) & (away < 15)) + 80 * ((away > 0) & (away < 4))
    return Volume((image.data + scalp + air).astype(np.float32), image.grid)


def test_a_whole_head_gets_its_brain_from_the_t1w_wherever_that_stands() -> None:
    flair = {"FLAIR": _whole("FLAIR"), "T1w": _whole("T1w")}
    found, method = find_brain(flair, None, CONFIG)
    assert method == "deepbet"
    assert found.grid.matches(GRIDS["FLAIR"])
    true = ndimage.binary_fill_holes(_scan("FLAIR")[0].data > 0)
    mask = found.data > 0.5
    assert 2 * (mask & true).sum() / (mask.sum() + true.sum()) > 0.9


def test_a_whole_head_of_a_contrast_that_was_not_measured_is_refused_with_what_to_do() -> None:
    with pytest.raises(DataError, match=r"not on T2w.*desc-brain_mask"):
        find_brain({"T2w": _whole("T2w")}, None, CONFIG)
    given = Volume((_scan("T2w")[0].data > 0).astype(np.float32), GRIDS["T2w"])
    assert find_brain({"T2w": _whole("T2w")}, given, CONFIG)[1] == "file"
