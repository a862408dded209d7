"""convmat inside PyTorch: convolutions of torch.nn that convmat computes, forward and backward.

    convmat.torch.accelerate(model, x)      swaps the layers of a model that are quicker so, and fuses its inference
    convmat.torch.Conv2d(3, 64, 7)          a module with torch.nn's constructor, parameters and state

Needs PyTorch 2.7 or later, from the extra `torch`.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("torch") is None:
    raise ImportError("convmat.torch needs PyTorch, which is not installed\n  pip install 'convmat[torch]'")

from .accelerate import accelerate, restore
from .functions import convolve, grads, input_grad, plan, run, unroll, weight_grad
from .modules import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from .report import Report, SwappedLayer

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Report",
    "SwappedLayer",
    "accelerate",
    "convolve",
    "grads",
    "input_grad",
    "plan",
    "restore",
    "run",
    "unroll",
    "weight_grad",
]
