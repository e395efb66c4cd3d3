"""Where networks run."""

import pytest
import torch

from lesionforge.hardware import exact_float32, find_device, peak_gpu_gib, resolve_precision

BF16 = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")


@pytest.mark.parametrize("gpu", [True, False])
def test_auto_is_a_gpu_where_there_is_one(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    for name in BF16:
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert find_device("auto") == find_device("gpu") == ("cuda" if gpu else "cpu")
    assert resolve_precision("auto", "auto") == ("bf16-mixed" if gpu else "32-true")
    assert resolve_precision("auto", "cpu") == "32-true"


@pytest.mark.parametrize("has", BF16)
def test_a_cpu_that_multiplies_in_bf16_is_used_so(monkeypatch, has):
    for name in BF16:
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == has)
    assert resolve_precision("auto", "cpu") == "bf16-mixed"


def test_what_is_named_is_taken():
    assert find_device("cuda:1") == "cuda:1"
    assert find_device("cpu") == "cpu"
    assert resolve_precision("16-mixed", "cpu") == "16-mixed"


def test_memory_is_that_of_a_gpu_or_unknown(monkeypatch):
    held = {"cuda:1": 3 * 2**30}
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", held.__getitem__)
    assert peak_gpu_gib("cpu") is None
    assert peak_gpu_gib("cuda:1") == 3.0


def test_a_gpu_is_kept_to_float32_for_as_long_as_it_is_asked(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with exact_float32():
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.deterministic
        assert torch.backends.cudnn.enabled
    assert torch.backends.cudnn.allow_tf32
    assert not torch.backends.cudnn.deterministic
