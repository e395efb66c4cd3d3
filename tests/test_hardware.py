"""Where networks run."""

import pytest
import torch

from lesionforge.hardware import find_device, resolve_precision


@pytest.mark.parametrize("gpu", [True, False])
def test_auto_is_a_gpu_where_there_is_one(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert find_device("auto") == find_device("gpu") == ("cuda" if gpu else "cpu")
    assert resolve_precision("auto", "auto") == ("bf16-mixed" if gpu else "32-true")
    assert resolve_precision("auto", "cpu") == "32-true"


def test_a_cpu_that_multiplies_in_bf16_is_used_so(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert resolve_precision("auto", "cpu") == "bf16-mixed"


def test_what_is_named_is_taken():
    assert find_device("cuda:1") == "cuda:1"
    assert find_device("cpu") == "cpu"
    assert resolve_precision("16-mixed", "cpu") == "16-mixed"
