"""Whether PyTorch follows what is computed, and how: which way a computation may take.

is_plain    nothing does                         the product is taken at once
is_eager    its eager autograd does, at most     an autograd.Function
neither     traces, casts, subclasses, modes     an operator that PyTorch knows
"""

from __future__ import annotations

import torch
from torch import nn
from torch.autograd import forward_ad

from .memory import Tensor


def is_eager(*tensors: Tensor | None) -> bool:
    """Whether nothing but a gradient follows what is computed of these: no trace, cast, subclass, mode, transform.

    >>> is_eager(torch.ones(2, requires_grad=True))
    True
    """
    if (
        torch.compiler.is_compiling()
        or torch.is_autocast_enabled("cpu")
        or torch._C._functorch.maybe_current_level()
        or forward_ad._current_level >= 0
        or torch._C._len_torch_dispatch_stack()
    ):
        return False
    batched = torch._C._functorch.is_legacy_batchedtensor  # several gradients at once, of `is_grads_batched`
    known = all(
        each is None or (type(each) in (torch.Tensor, nn.Parameter) and not batched(each)) for each in tensors
    )
    return bool(known and not torch.jit.is_tracing())


def is_plain(*tensors: Tensor | None) -> bool:
    """Whether nothing follows what is computed of these tensors: no gradient either.

    >>> is_plain(torch.ones(2, requires_grad=True)), is_plain(torch.ones(2), None)
    (False, True)
    """
    followed = torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in tensors)
    return not followed and is_eager(*tensors)
