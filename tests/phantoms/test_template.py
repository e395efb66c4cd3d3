import numpy as np
import pytest

from lesionforge.phantoms.template import COARSE, FINE, load_template


@pytest.fixture(scope="module")
def template():
    return load_template()


def at(*points):
    return np.array(points, dtype=np.float32).T


def test_maps_are_read_at_points_in_mm(template):
    points = at((0, 0, 0), (30, -20, 30), (-30, -20, 30))
    for names in (FINE, COARSE):
        found = template.sample(names, points)
        assert list(found) == list(names)
        assert all(values.shape == (3,) and np.isfinite(values).all() for values in found.values())
    corner = template.origin_mm[:, None] + at((10, 20, 30))
    exact = template.fine[FINE.index("grey")][10, 20, 30]
    assert template.sample(("grey",), corner)["grey"][0] == pytest.approx(exact, abs=1e-5)


def test_what_lies_where(template):
    ventricle, white, insula, cerebellum, pallidum = range(5)
    points = at((-12, -20, 20), (-26, -20, 32), (38, 2, 2), (20, -60, -40), (18, -4, -1))
    found = template.sample(COARSE, points)
    assert found["ventricle_mm"][ventricle] < 1 < 5 < found["ventricle_mm"][white]
    assert found["cerebellum"][cerebellum] > 0.9 > 0.1 > found["cerebellum"][white]
    assert found["insula"][insula] > 0.9
    assert found["iron"][pallidum] > 0.7 > 0.1 > found["iron"][white]
    assert found["deep"][pallidum] > 0.9
    assert found["hull_mm"][white] > 15


def test_the_hull_s_nearest_point_is_as_far_as_the_depth(template):
    rng = np.random.default_rng(0)
    points = at(*rng.uniform((-55, -60, 15), (-15, 40, 60), (300, 3)))
    found = template.sample(COARSE, points)
    good = (found["hull_mm"] > 4) & (found["hull_mm"] < 20)
    root = np.stack([found[f"root_{axis}"] for axis in "xyz"])
    gap = np.linalg.norm(points - root, axis=0)
    assert good.sum() > 100
    assert np.median(np.abs(gap - found["hull_mm"])[good]) < 2.5


def test_only_the_brain_is_covered(template):
    inside = template.covers(at((30, -20, 30), (0, 0, 150), (-500, 0, 0), (0, 120, 0)))
    assert inside.tolist() == [True, False, False, False]
