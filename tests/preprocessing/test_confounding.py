"""A scanner that gives patients away is found; one that does not is left in peace."""

import numpy as np
import pandas as pd
import pytest

from lesionforge.preprocessing.confounding import measure_confounding
from tests.conftest import CHANNELS


def _bonn() -> pd.DataFrame:
    """The published counts of OpenNeuro ds004199: protocols of 85 patients and 85 controls."""
    flair = ["T2sel"] * 40 + ["tse3dvfl"] * 36 + ["32ch10"] + [f"once{i}" for i in range(8)]
    flair = [*flair[:40], "T2sel", *flair[40:76], *flair[77:]]
    t1w = ["iso08"] * 42 + ["sag111"] * 43
    patients = pd.DataFrame({"group": "patient", "acq_flair": flair, "acq_t1w": t1w})
    controls = pd.DataFrame(
        {"group": "control", "acq_flair": "T2sel", "acq_t1w": ["iso08"] * 78 + ["sag111"] * 7}
    )
    return pd.concat([patients, controls], ignore_index=True)


def _chance(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "group": ["patient"] * n + ["control"] * n,
            "site": rng.choice(list("ABC"), 2 * n),
            "sharpness_t1w": rng.normal(size=2 * n),
            "voxel_mm_flair": 1.0,
        }
    )


def test_the_published_cohort_gives_its_patients_away() -> None:
    found = measure_confounding(_bonn(), CHANNELS)
    assert found.one_sided["FLAIR protocol"] == (44, 0)
    assert found.fields["FLAIR protocol"] == pytest.approx(0.5 + 0.5 * 44 / 85, abs=0.01)
    assert found.auc is not None
    assert found.auc > 0.74
    assert found.is_high
    assert "gives away 44 patients and 0 controls" in str(found)
    assert "do not trust its specificity" in str(found)


def test_chance_is_not_called_confounding() -> None:
    found = [measure_confounding(_chance(40, seed), CHANNELS) for seed in range(5)]
    assert sum(one.is_high for one in found) == 0
    assert all(one.auc is not None and one.auc < 0.65 for one in found)
    assert "hardly tell" in str(found[0])
    assert "FLAIR voxel size" not in found[0].fields  # constant


def test_a_planted_difference_in_sharpness_is_named() -> None:
    table = _chance(40, 0)
    table.loc[table["group"] == "patient", "sharpness_t1w"] += 1.5
    found = measure_confounding(table, CHANNELS)
    assert found.is_high
    assert next(iter(found.fields)) == "T1w sharpness"
    assert "T1w sharpness most" in str(found)


@pytest.mark.parametrize("controls", [0, 9])
def test_too_few_controls_give_a_reason(controls: int) -> None:
    table = _chance(20, 0).iloc[: 20 + controls]
    found = measure_confounding(table, CHANNELS)
    assert found.auc is None
    assert f"20 and {controls}" in str(found)
    assert not found.is_high


def test_nothing_to_go_by_gives_a_reason() -> None:
    found = measure_confounding(
        pd.DataFrame({"group": ["patient"] * 20 + ["control"] * 20}), CHANNELS
    )
    assert found.reason == "no field of the acquisition differs."
