import numpy as np
import torch

from lesionforge.seeding import assigned_turn, seeded_torch, stream, torch_stream


def test_streams_repeat_and_differ_by_name():
    assert np.array_equal(stream(3, "a", 1).random(5), stream(3, "a", 1).random(5))
    assert not np.array_equal(stream(3, "a", 1).random(5), stream(3, "a", 2).random(5))
    assert not np.array_equal(stream(3, "a", 1).random(5), stream(4, "a", 1).random(5))
    assert not np.array_equal(stream(3, "ab").random(5), stream(3, "a", "b").random(5))


def test_global_generators_are_untouched():
    np_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    stream(1, "x").random(10)
    torch.rand(3, generator=torch_stream(1, "x"))
    assert np.array_equal(np_state, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_state, torch.get_rng_state())


def test_modules_are_seeded_by_name_and_the_global_generator_is_restored():
    before = torch.get_rng_state()
    weights = []
    for name in ("a", "a", "b"):
        with seeded_torch(1, name):
            weights.append(torch.nn.Linear(3, 3).weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert torch.equal(before, torch.get_rng_state())


def test_drawn_numbers_are_counted_in_turn():
    for share in (0.3, 0.5, 1.0):
        turns = [assigned_turn(n, share, 1, "x") for n in range(1, 101)]
        drawn = [turn for turn in turns if turn is not None]
        assert drawn == list(range(round(100 * share)))
    assert assigned_turn(1, 0.0, 1, "x") is None
