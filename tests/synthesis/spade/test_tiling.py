import numpy as np
import pytest
import torch

from lesionforge.errors import ConfigError
from lesionforge.synthesis.spade.config import STRIDES
from lesionforge.synthesis.spade.network import Generator, halos, pool
from lesionforge.synthesis.spade.noise import position_noise
from lesionforge.synthesis.spade.tiling import apply_generator

SIZE = (70, 45, 50)  # no multiple of 4, larger than a tile and its halo


def make_network() -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Generator(
            images=2, semantic_channels=5, style_dim=4, features=(12, 8, 8), hidden=4
        )
        for parameter in network.parameters():  # larger weights make a fault easier to see
            parameter.data.mul_(1.5)
        return network


def make_map(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    semantic = rng.random((5, *SIZE), dtype=np.float32)
    semantic[:3] /= semantic[:3].sum(0)
    return semantic


STYLE = np.linspace(-1, 1, 4, dtype=np.float32)
PLACES = [(8, "cpu"), (16, "cpu"), (28, "cpu")]
if torch.cuda.is_available():  # the same volume there, at once and by tiles
    PLACES += [(None, "cuda"), (16, "cuda")]


@pytest.fixture(scope="module")
def whole() -> np.ndarray:
    return apply_generator(make_network(), make_map(), STYLE, 5)


@pytest.mark.parametrize(("tile", "device"), PLACES)
def test_tiles_equal_the_whole(whole, tile, device):
    if tile == 8:  # many tiles: only a corner of the volume
        part = make_map()[:, :30, :30, :30]
        expected = apply_generator(make_network(), part, STYLE, 5)
        made = apply_generator(make_network(), part, STYLE, 5, tile, device)
    else:
        expected, made = whole, apply_generator(make_network(), make_map(), STYLE, 5, tile, device)
    assert expected.std() > 0.05
    assert np.abs(made - expected).max() < 1e-4


@pytest.mark.parametrize("fault", ["halo", "noise"])
def test_the_comparison_notices_a_planted_fault(whole, fault, monkeypatch):
    if fault == "halo":
        short = tuple(max(0, h - 8) for h in halos())
        monkeypatch.setattr("lesionforge.synthesis.spade.tiling.halos", lambda: short)
    else:
        shifted = lambda seed, level, channels, start, stop, device: position_noise(  # noqa: E731
            seed, level, channels, (0, 0, 0), tuple(np.subtract(stop, start)), device
        )
        monkeypatch.setattr("lesionforge.synthesis.spade.tiling.position_noise", shifted)
    made = apply_generator(make_network(), make_map(), STYLE, 5, tile=16)
    assert np.abs(made - whole).max() > 1e-3


@pytest.mark.parametrize("tile", [None, 16])
@pytest.mark.parametrize("part", [((5, 23), (20, 45), (0, 17)), ((30, 31), (2, 3), (49, 50))])
def test_a_part_equals_that_part_of_the_whole(whole, part, tile):
    made = apply_generator(make_network(), make_map(), STYLE, 5, tile=tile, part=part)
    expected = whole[(slice(None), *(slice(a, b) for a, b in part))]
    assert made.shape == expected.shape
    assert np.abs(made - expected).max() < 1e-4


def test_whole_equals_the_plain_forward_pass(whole):
    semantic = np.zeros((5, 72, 48, 52), dtype=np.float32)
    semantic[:, : SIZE[0], : SIZE[1], : SIZE[2]] = make_map()
    noise = [
        position_noise(5, level, 2, (0, 0, 0), (72 // s, 48 // s, 52 // s))[None]
        for level, s in enumerate(STRIDES)
    ]
    with torch.no_grad():
        made = make_network()(torch.tensor(semantic)[None], torch.tensor(STYLE)[None], noise)
    made = made[0, :, : SIZE[0], : SIZE[1], : SIZE[2]].numpy()
    assert np.abs(made - whole).max() < 1e-5


def test_same_seed_same_bytes_other_seed_other_image(whole):
    assert np.array_equal(apply_generator(make_network(), make_map(), STYLE, 5), whole)
    assert not np.allclose(apply_generator(make_network(), make_map(), STYLE, 6), whole)


def test_the_global_generator_is_untouched():
    before = torch.random.get_rng_state()
    network = make_network()
    apply_generator(network, make_map()[:, :16, :16, :16], STYLE, 5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_smaller_than_the_coarsest_cell():
    made = apply_generator(make_network(), make_map()[:, :3, :5, :1], STYLE, 5, tile=4)
    assert made.shape == (2, 3, 5, 1)
    assert pool(torch.ones(1, 1, 4, 4, 4), 4).shape == (1, 1, 1, 1, 1)


@pytest.mark.parametrize("tile", [0, -4, 3, 30])
def test_a_tile_must_be_aligned(tile):
    with pytest.raises(ConfigError, match="multiple of 4"):
        apply_generator(make_network(), make_map()[:, :8, :8, :8], STYLE, 5, tile=tile)
