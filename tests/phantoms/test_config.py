import pytest

from lesionforge.errors import ConfigError
from lesionforge.phantoms.config import PhantomConfig


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"patients": -1}, "patients"),
        ({"controls": 10000}, "controls"),
        ({"patients": 0, "controls": 0}, "both 0"),
        ({"voxel_mm": 0.5}, "voxel_mm"),
        ({"lesion_contrast": 0.0}, "lesion_contrast"),
        ({"missed": 1.5}, "missed"),
        ({"sites": ()}, "sites"),
        ({"sites": ("A", "A")}, "sites"),
    ],
)
def test_wrong_config_is_refused(wrong, name):
    with pytest.raises(ConfigError, match=name):
        PhantomConfig(**wrong)
