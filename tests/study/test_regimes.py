import pytest

from lesionforge.errors import ConfigError
from lesionforge.study.regimes import Regime


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patients": 0}, "`patients` of at least 1"),
        ({"controls": -1}, "`controls` of at least 0"),
        ({"ratio": -1.0}, "`ratio` must not be negative"),
        ({"real": False}, "needs synthetic patients"),
        ({"real": False, "synthetic": "spade", "ratio": 0.0}, "needs synthetic patients"),
    ],
)
def test_a_bad_regime_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Regime(**{"patients": 2, "controls": 1, **values})


@pytest.mark.parametrize(
    ("ratio", "patients", "controls"), [(1.0, 3, 1), (1.5, 4, 2), (0.5, 2, 0), (0.0, 0, 0)]
)
def test_synthetic_subjects_are_counted_per_real_one(ratio, patients, controls):
    regime = Regime(patients=3, controls=1, synthetic="spade", ratio=ratio)
    assert regime.synthetic_count("patient") == patients
    assert regime.synthetic_count("control") == controls
    assert Regime(patients=3, controls=1, ratio=ratio).synthetic_count("patient") == 0
