"""What one subject's preparation keeps, and leaves as it was."""

import torch

from lesionforge.preprocessing.single import single_threaded


def test_thread_counts_are_put_back() -> None:
    before = torch.get_num_threads()
    with single_threaded():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
