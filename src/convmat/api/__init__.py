"""The functions on NumPy arrays. Names, defaults and the order of arguments follow torch.nn.functional.

    conv(x, w)                 x: (B, C, *I), w: (O, C//G, *F)  -> (B, O, *P)
    conv_transpose(x, w)       x: (B, C, *I), w: (C, O//G, *F)  -> (B, O, *P)
    conv_input_grad(dy, w)     dy: (B, O, *P)                   -> (B, C, *I)
    conv_weight_grad(x, dy)                                     -> (O, C//G, *F)
    conv_grads(x, w, dy)       both, and the bias's             -> (B, C, *I), (O, C//G, *F), (O,)
    im2col(x), col2im(cols)    the unrolled input and its adjoint
    plan(x_shape, w_shape)     how one would run, and why

Each makes a Problem, asks the planner for its Plan (remembered), and runs it. What keywords mean is said once, in the
docstrings of `conv` and `plan`.
"""

from __future__ import annotations

from .convolution import (
    conv,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from .gradients import ConvGrads, conv_grads, conv_input_grad, conv_weight_grad
from .planning import plan
from .unrolling import col2im, im2col

__all__ = [
    "ConvGrads", "col2im", "conv", "conv1d", "conv2d", "conv3d", "conv_grads", "conv_input_grad", "conv_transpose",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "conv_weight_grad", "im2col", "plan",
]  # fmt: skip
