"""Where networks run: the device, and the precision that `auto` means there."""

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

    bf16 halves a step's time where the CPU multiplies matrices in it (AMX) or there is a GPU; on
    other CPUs it was measured slower than 32 bit.

    Args:
        precision: `auto`, or one of Lightning's.
        accelerator: Lightning's, see `find_device`.
    """
    if precision != "auto":
        return precision
    fast = find_device(accelerator) != "cpu" or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if fast else "32-true"
