"""Quality figures find what was planted."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.data.volume import Volume, mni_grid
from lesionforge.preprocessing.quality import (
    Limit,
    columns,
    compared,
    doubts,
    find_flags,
    image_figures,
    limits,
    mask_volume_ml,
    motion_figures,
    template_figures,
)
from lesionforge.preprocessing.resample import resample
from lesionforge.preprocessing.tissues import template
from tests.conftest import CHANNELS

GRID = mni_grid(4.0)


@pytest.fixture(scope="module")
def tissues() -> np.ndarray:
    _, grey, white = (resample(v, GRID) for v in template())
    brain = grey + white > 0.3
    return np.stack([np.clip(1 - grey - white, 0, 1), grey, white]) * brain


def _figures(tissues: np.ndarray, noise: float, blur: float = 0) -> dict[str, float]:
    rng = np.random.default_rng(0)
    clean = np.tensordot([0.2, 0.4, 0.6], tissues, 1)
    image = ndimage.gaussian_filter(clean, blur) + rng.normal(0, noise, clean.shape)
    return image_figures(CHANNELS, np.stack([image, image]), tissues.sum(0) > 0.5, tissues, GRID)


def test_more_noise_is_seen_and_costs_contrast(tissues: np.ndarray) -> None:
    calm, loud = _figures(tissues, 0.01), _figures(tissues, 0.04)
    assert loud["noise_t1w"] > 2 * calm["noise_t1w"]
    assert loud["cnr_gm_wm"] < 0.5 * calm["cnr_gm_wm"]


def test_blur_is_seen(tissues: np.ndarray) -> None:
    sharp, blurred = _figures(tissues, 0.0), _figures(tissues, 0.0, blur=1.5)
    assert blurred["sharpness_flair"] < 0.8 * sharp["sharpness_flair"]


def test_a_shifted_brain_fits_the_template_less(tissues: np.ndarray) -> None:
    t1w = resample(template()[0], GRID)
    brain = ndimage.binary_fill_holes(t1w > 0.1)
    right = template_figures(t1w, brain, GRID)
    wrong = template_figures(np.roll(t1w, 4, 1), np.roll(brain, 4, 1), GRID)
    assert right["mni_dice"] == pytest.approx(1)
    assert right["mni_correlation"] == pytest.approx(1)
    assert wrong["mni_dice"] < 0.92
    assert wrong["mni_correlation"] < 0.6


def test_a_rigid_move_is_described() -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("z", 5, degrees=True).as_matrix()
    matrix[:3, 3] = [3, 0, 4]
    figures = motion_figures(matrix, np.zeros(3))
    assert figures["angle_deg"] == pytest.approx(5)
    assert figures["shift_mm"] == pytest.approx(5)
    assert {f"flair_t1w_{name}" for name in figures} < set(columns(CHANNELS))


def test_a_mask_is_measured_on_its_own_grid() -> None:
    data = np.zeros(GRID.shape)
    data[:10, :10, :10] = 1
    assert mask_volume_ml(Volume(data, GRID)) == pytest.approx(64)


def _table(n: int = 12, **planted: dict[int, float]) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    spread = 1 + 0.01 * np.linspace(-1, 1, n)
    table = pd.DataFrame({c: rng.permutation(spread) for c in columns(CHANNELS)})
    table["wm_ml"] = 2 - table["gm_ml"]
    table["notes"] = None
    table["participant_id"] = [f"sub-{i:02d}" for i in range(n)]
    for column, values in planted.items():
        for row, value in values.items():
            table.loc[row, column] = value
    return table


def test_a_usual_cohort_has_no_flag() -> None:
    assert find_flags(_table(), CHANNELS) == []


@pytest.mark.parametrize("limit", limits(CHANNELS), ids=lambda limit: limit.column)
@pytest.mark.parametrize("n", [1, 12])
def test_a_figure_below_its_limit_is_doubtful_in_any_cohort(limit: Limit, n: int) -> None:
    (flag,) = find_flags(_table(n, **{limit.column: {0: limit.low - 0.05}}), CHANNELS)
    assert (flag.participant_id, flag.severity) == ("sub-00", 3)
    assert limit.what in flag.what
    assert doubts({limit.column: limit.low - 0.05}, CHANNELS) == [limit.what]
    assert doubts({limit.column: limit.low, "other": 0.0}, CHANNELS) == []


@pytest.mark.parametrize("column", [c for c in compared(CHANNELS) if c != "grey_share"])
def test_an_outlier_is_flagged_where_there_is_a_cohort(column: str) -> None:
    (flag,) = find_flags(_table(12, **{column: {7: 2.0}}), CHANNELS)
    assert (flag.participant_id, flag.severity) == ("sub-07", 2)
    assert compared(CHANNELS)[column] in flag.what
    assert "2" in flag.what.split(column)[1]
    assert find_flags(_table(9, **{column: {7: 2.0}}), CHANNELS) == []


def test_tissue_shares_are_compared() -> None:
    flags = find_flags(_table(12, gm_ml={3: 3.0}), CHANNELS)
    assert [f.participant_id for f in flags] == ["sub-03"]
    assert "grey matter" in flags[0].what


def test_a_constant_figure_flags_only_what_differs() -> None:
    table = _table(12)
    table["mni_volume_ratio"] = 1.0
    assert find_flags(table, CHANNELS) == []
    table.loc[2, "mni_volume_ratio"] = 1.1
    assert [f.participant_id for f in find_flags(table, CHANNELS)] == ["sub-02"]


def test_notes_are_flags_once_and_the_worst_comes_first() -> None:
    table = _table(12, mni_dice={5: 0.5})
    table.loc[5, "notes"] = "T1w.nii.gz is 4D with one volume; registration to MNI is doubtful"
    flags = [f for f in find_flags(table, CHANNELS) if "mni_dice" in f.what or f.severity == 1]
    assert [f.severity for f in flags] == [3, 1]
    assert "4D" in flags[1].what
