"""Where networks run: the device, its precision and rounding, the memory they take there."""

from contextlib import AbstractContextManager

import torch


def find_device(name: str) -> str:
    """Return the device that `name` means: `auto` and `gpu` are a GPU where there is one.

    Args:
        name: `auto`, `gpu`, or a device of torch (`cpu`, `cuda`, `cuda:1`), returned as it is.
    """
    if name not in ("auto", "gpu"):
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def resolve_precision(precision: str, accelerator: str) -> str:
    """Return the precision that `auto` means on this machine, or `precision` if it is another.

    bf16 halves a step's time on a GPU and where the CPU multiplies in it (AVX-512 BF16, AMX); other
    CPUs would have to imitate it.

    Args:
        precision: `auto`, or one of Lightning's.
        accelerator: Lightning's, see `find_device`.
    """
    if precision != "auto":
        return precision
    gpu = find_device(accelerator) != "cpu"
    fast = gpu or torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if fast else "32-true"


def exact_float32() -> AbstractContextManager[None]:
    """Keep a GPU's convolutions to float32 and to algorithms that repeat themselves.

    By default they are in TF32, whose rounding is a thousand times coarser.
    """
    return torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)


def peak_gpu_gib(device: str) -> float | None:
    """Return the most memory that this process has held on `device` at once, in GiB.

    None if it is no GPU (see `find_device`).
    """
    if not device.startswith("cuda"):
        return None
    return torch.cuda.max_memory_reserved(device) / 2**30
