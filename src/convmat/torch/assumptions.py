"""What a symbolic trace takes for granted of a model: it runs on only while all of that holds.

A trace has read the model's modules, numbers and flags once, and calls no hooks of modules that it goes through. So
a model with hooks, one whose modules or attributes were replaced since, or one of which a part is in training mode,
runs itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import torch
from torch import fx, nn

from .following import is_eager
from .memory import Tensor

PLAIN = (bool, int, float, str, tuple, type(None))
"""Types of attributes that a forward reads for itself, and that compare at once."""


class Assumptions:
    """What one trace of a model was made of: its modules, their attributes and hooks, and the kind of its arguments."""

    def __init__(self, model: nn.Module, graph: fx.GraphModule, example: tuple[Tensor, ...]) -> None:
        modules = list(model.modules())
        self._arguments = [(each.dim(), each.dtype, each.device) for each in example]
        self._hooks = [kept for module in modules if module is not model for kept in _hooks_of(module)]
        self._parents = [each._modules for each in modules if each._modules]
        self._children = [list(each.values()) for each in self._parents]
        self._attributes = list(_attributes_of(modules))
        self._values = [read(there) for read, there in self._attributes]
        self._tensors = list(_tensors_of(model, graph))

    def hold(self, model: nn.Module, arguments: tuple[Any, ...]) -> bool:
        """Whether they do, and nothing follows what is computed of such arguments but gradients in training."""
        if not (all(isinstance(each, torch.Tensor) for each in arguments) and is_eager(*arguments)):
            return False
        if [(each.dim(), each.dtype, each.device) for each in arguments] != self._arguments:
            return False
        followed = torch.is_grad_enabled() and not model.training
        if followed and any(each.requires_grad for each in (*arguments, *model.parameters())):
            return False
        return self._is_unchanged()

    def _is_unchanged(self) -> bool:
        if any(self._hooks) or nn.modules.module._has_any_global_hook():
            return False
        if [list(each.values()) for each in self._parents] != self._children:
            return False
        try:
            if [read(there) for read, there in self._attributes] != self._values:
                return False
        except KeyError:  # one was deleted
            return False
        return all(getattr(owner, name, None) is found for owner, name, found in self._tensors)


def _hooks_of(module: nn.Module) -> tuple[Any, ...]:
    """The dictionaries of a module's hooks."""
    return (
        module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks,
    )  # fmt: skip


def _attributes_of(modules: list[nn.Module]) -> Iterator[tuple[Callable[[Any], Any], dict[str, Any]]]:
    """What reads the attributes that each module's forward read, of its dictionary: its mode, numbers and flags.

    PyTorch's own modules run as they are, but for those that are fused: convolutions and what follows them.
    """
    for module in modules:
        own = type(module).__module__.startswith("torch.")
        names = _READ if own else [n for n, value in module.__dict__.items() if isinstance(value, PLAIN)]
        there = [name for name in names if name in module.__dict__]
        if there:  # a scripted module has none
            yield itemgetter(*there), module.__dict__


_READ = (
    "training",
    "stride",
    "padding",
    "dilation",
    "groups",
    "eps",
    "negative_slope",
    "min_val",
    "max_val",
    "approximate",
)
"""What fusion reads of PyTorch's modules."""


def _tensors_of(model: nn.Module, graph: fx.GraphModule) -> Iterator[tuple[nn.Module, str, Any]]:
    """Parameters and buffers that the trace holds itself, where the model has them."""
    for node in graph.graph.nodes:
        if node.op == "get_attr":
            path, _, name = str(node.target).rpartition(".")
            with_it = dict(model.named_modules()).get(path)
            if with_it is not None and hasattr(with_it, name):
                yield with_it, name, getattr(with_it, name)


__all__ = ["Assumptions"]
