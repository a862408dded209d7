"""A model with convolution, normalisation, addition and activation in one pass; trained, the last two of these.

    conv -> norm -> (+ residual) -> activation      one product whose epilogue does the rest
    norm -> activation, in training                 one pass over each channel

The graph is PyTorch's own symbolic trace of the model, and runs on the model's own modules; a model that cannot be
traced stays as it is.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from operator import methodcaller
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional

from .assumptions import Assumptions
from .bound import PackedLayer, can_trace
from .memory import Array, Tensor, array_of
from .modules import COUNTERPARTS, Conv1d, Conv2d, Conv3d
from .norms import NORMS

CONVS = (Conv1d, Conv2d, Conv3d)

SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
"""What a trace calls an addition."""

WRITING = (operator.iadd, "add_")
"""Additions that write to their first operand: a convolution's result may be that, nothing else may."""

Activation = str | tuple[str | float, ...]


MODULES: dict[Any, Callable[[Any], Activation]] = {
    nn.ReLU: lambda m: "relu",
    nn.ReLU6: lambda m: "relu6",
    nn.Hardtanh: lambda m: ("clip", m.min_val, m.max_val),
    nn.SiLU: lambda m: "silu",
    nn.Hardswish: lambda m: "hardswish",
    nn.Hardsigmoid: lambda m: "hardsigmoid",
    nn.Sigmoid: lambda m: "sigmoid",
    nn.Tanh: lambda m: "tanh",
    nn.GELU: lambda m: "gelu_tanh" if m.approximate == "tanh" else "gelu",
    nn.LeakyReLU: lambda m: ("leaky_relu", m.negative_slope),
}
"""Modules that are activations of an epilogue."""

FUNCTIONS: dict[Any, Activation] = {
    functional.relu: "relu", torch.relu: "relu", torch.relu_: "relu", "relu": "relu", "relu_": "relu",
    functional.relu6: "relu6", functional.silu: "silu", functional.hardswish: "hardswish", torch.sigmoid: "sigmoid",
    "sigmoid": "sigmoid", torch.tanh: "tanh", "tanh": "tanh",
}  # fmt: skip
"""Functions and methods that are activations of an epilogue, called with nothing but their input."""


class Fused(nn.Module):
    """A convolution with what follows it, on the model's own modules; their weights are folded when they change.

    What PyTorch would broadcast, promote or refuse goes through these modules one by one.
    """

    def __init__(
        self, conv: Any, norm: Any, activation: tuple[Activation, Callable[[Any], Any]] | None
    ) -> None:
        super().__init__()
        # Not submodules: they are the model's, and stay where its own names find them.
        self.__dict__["parts"] = (conv, norm)
        self.__dict__["apply"] = None if activation is None else activation[1]
        keywords = conv.walk().keywords | {"activation": None if activation is None else activation[0]}
        self.__dict__["packed"] = PackedLayer(self._sources, self._fold, keywords, self._fits)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """x: (B, C, *I), residual: (B, O, *P) -> (B, O, *P)."""
        found: Tensor = self.__dict__["packed"](x, residual)
        if found is not None:
            return found
        conv, norm = self.__dict__["parts"]
        y, apply = conv(x), self.__dict__["apply"]
        y = y if norm is None else norm(y)
        y = y if residual is None else y + residual
        return y if apply is None else apply(y)

    def _fits(self, x: Tensor, residual: Tensor | None) -> bool:
        """Whether all is of one type and shape."""
        conv, _ = self.__dict__["parts"]
        outputs = conv.outputs(x)
        return outputs is not None and (
            residual is None
            or (
                residual.dtype == x.dtype
                and list(residual.shape) == [x.shape[0], conv.out_channels, *outputs]
            )
        )

    def _sources(self) -> tuple[Tensor | None, ...]:
        conv, norm = self.__dict__["parts"]
        found = (_read_held(conv._parameters, conv, "weight"), _read_held(conv._parameters, conv, "bias"))
        if norm is None:
            return found
        own, kept = norm._parameters, norm._buffers
        statistics = (_read_held(kept, norm, "running_mean"), _read_held(kept, norm, "running_var"))
        return *found, *statistics, _read_held(own, norm, "weight"), _read_held(own, norm, "bias")

    def _fold(self) -> tuple[Array, Array | None]:
        """w * g / sqrt(var + eps), and what is left of the rest as a bias; in float64, rounded once."""
        conv, norm = self.__dict__["parts"]
        if norm is None:
            return array_of(conv.weight), None if conv.bias is None else array_of(conv.bias)
        w = conv.weight.detach().double()
        scale = torch.rsqrt(norm.running_var.double() + norm.eps)
        if norm.weight is not None:
            scale = scale * norm.weight.detach().double()
        bias = -norm.running_mean.double() * scale
        if conv.bias is not None:
            bias = bias + conv.bias.detach().double() * scale
        if norm.bias is not None:
            bias = bias + norm.bias.detach().double()
        dtype = conv.weight.dtype
        return array_of((w * scale.view(-1, *(1,) * (w.dim() - 1))).to(dtype)), array_of(bias.to(dtype))


def _read_held(there: dict[str, Tensor | None], module: nn.Module, name: str) -> Tensor | None:
    """A module's tensor, from where it is held: its attributes are looked up in a third of a microsecond each.

    What is parametrised or pruned is held elsewhere.
    """
    found: Tensor | None = there[name] if name in there else getattr(module, name)
    return found


LIMITS: dict[Any, tuple[float, float]] = {"relu": (0.0, math.inf), "relu6": (0.0, 6.0)}
"""Activations that keep values within limits, beside "clip", which has its own."""


class FusedNorm(nn.Module):
    """A normalisation in training with the limits that its activation sets, on the model's own modules."""

    def __init__(self, norm: Any, limits: tuple[float, float], apply: Callable[[Any], Any]) -> None:
        super().__init__()
        self.__dict__["parts"] = (norm, limits, apply)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, C, *P) -> the same shape."""
        norm, limits, apply = self.__dict__["parts"]
        found: Tensor | None = norm.normalise(x, limits)
        return apply(norm(x)) if found is None else found


class Tracer(fx.Tracer):
    """PyTorch's tracer, which does not look into our modules either."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one node of the trace."""
        own = type(m) in COUNTERPARTS.values() or type(m) in NORMS.values()
        return own or bool(super().is_leaf_module(m, module_qualified_name))


class FusedGraph:
    """The fused graph of a model, for calls on what it was traced with, in the mode that it was traced in."""

    def __init__(self, graph: fx.GraphModule, fused: int, assumptions: Assumptions) -> None:
        self.graph, self.fused, self._assumptions = graph, fused, assumptions

    def __call__(self, *arguments: Tensor) -> Any:
        """What the model gives for these."""
        return self.graph(*arguments)

    def takes(self, model: nn.Module, arguments: tuple[Any, ...]) -> bool:
        """Whether it may run on these, for the model that it was made of."""
        return self._assumptions.hold(model, arguments)


def inference_of(model: nn.Module, example: tuple[Tensor, ...]) -> FusedGraph | None:
    """The fused inference of a model, None where it cannot be traced or has nothing to fuse."""
    traced = _trace(model, example)
    return None if traced is None else _replace_nodes(model, traced, example, _find_products(traced))


def training_of(model: nn.Module, example: tuple[Tensor, ...]) -> FusedGraph | None:
    """A model's forward pass in training, fused; None where it cannot be traced or has nothing to fuse."""
    traced = _trace(model, example)
    return None if traced is None else _replace_nodes(model, traced, example, _find_norms(traced))


def _trace(model: nn.Module, example: tuple[Tensor, ...]) -> fx.GraphModule | None:
    """The trace of a model with the shapes of its values; None where it has none, or does more than compute."""
    before = [(module, dict(module.__dict__)) for module in model.modules()]
    counting = [each for each in (*model.parameters(), *model.buffers()) if not each.is_inference()]
    versions = [each._version for each in counting]
    traced: fx.GraphModule | None = None
    try:
        graph = Tracer().trace(model)
        # What the trace has written to, a call writes to, and a graph does not.
        if versions == [each._version for each in counting]:
            traced = fx.GraphModule(model, graph)
            ShapeProp(traced).propagate(*example)
    except Exception:  # whatever the model's own Python does with a stand-in for a tensor
        traced = None
    for module, held in before:
        # A forward that counts, or that keeps what it saw, would do neither in a graph.
        now = module.__dict__
        if now.keys() != held.keys() or any(now[name] is not value for name, value in held.items()):
            now.clear()
            now.update(held)
            traced = None
    return traced


Replacement = tuple[fx.Node, fx.Node, nn.Module, tuple[fx.Node, ...]]
"""The first and the last node of some that become one, the module that it is, and what this is called with."""


def _replace_nodes(
    model: nn.Module, traced: fx.GraphModule, example: tuple[Tensor, ...], found: Iterator[Replacement]
) -> FusedGraph | None:
    """The graph with these in their places, None where there are none."""
    assumptions = Assumptions(model, traced, example)
    count = 0
    for first, last, module, arguments in found:
        name = f"fused_{count}"
        traced.add_submodule(name, module)
        with traced.graph.inserting_before(last):
            made = traced.graph.call_module(name, arguments)
        made.meta = dict(last.meta)
        chain = [first]
        while chain[-1] is not last:
            chain.append(next(iter(chain[-1].users)))
        last.replace_all_uses_with(made)
        for node in reversed(chain):
            traced.graph.erase_node(node)
        count += 1
    if not count:
        return None
    traced.recompile()
    return FusedGraph(traced, count, assumptions)


def _find_products(traced: fx.GraphModule) -> Iterator[Replacement]:
    """Convolutions with what follows them."""
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        conv: Any = modules.get(str(node.target)) if node.op == "call_module" else None
        if type(conv) not in CONVS or len(node.args) != 1 or not can_trace(*conv.parameters()):
            continue
        last, norm, residual, activation = _tail(node, modules)
        if _is_disturbed(node, last, modules):
            last, norm, residual, activation = node, None, None, None
        beside = () if residual is None else (residual,)
        yield node, last, Fused(conv, norm, activation), (node.args[0], *beside)


def _find_norms(traced: fx.GraphModule) -> Iterator[Replacement]:
    """Normalisations by our kernels with activations that are limits."""
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        norm: Any = modules.get(str(node.target)) if node.op == "call_module" else None
        last = _only_user(node)
        if type(norm) not in NORMS.values() or last is None or len(node.args) != 1 or node.kwargs:
            continue
        found = _activation(last, node, modules)
        if found is None or _is_disturbed(node, last, modules):
            continue
        kind, apply = found
        limits = LIMITS.get(kind)
        if isinstance(kind, tuple) and kind[0] == "clip":
            limits = float(kind[1]), float(kind[2])
        if limits is not None:
            yield node, last, FusedNorm(norm, limits, apply), (node.args[0],)


def _tail(
    node: fx.Node, modules: dict[str, nn.Module]
) -> tuple[fx.Node, Any, fx.Node | None, tuple[Activation, Callable[[Any], Any]] | None]:
    """What follows a convolution and nothing else does: the last node, norm, residual and activation."""
    last, norm, residual = node, None, None
    follower = _only_user(last)
    found: Any = None
    if follower is not None and follower.op == "call_module":
        found = modules.get(str(follower.target))
    if type(found) in NORMS and found.running_mean is not None:
        last, norm = follower, found
        follower = _only_user(last)
    if follower is not None and follower.op in ("call_function", "call_method") and follower.target in SUMS:
        others = [each for each in follower.args if each is not last]
        alike = len(follower.args) == 2 and len(others) == 1 and not follower.kwargs
        alike &= follower.target not in WRITING or follower.args[0] is last
        if alike and isinstance(others[0], fx.Node) and _shape(others[0]) == _shape(last):
            last, residual = follower, others[0]
            follower = _only_user(last)
    activation = None if follower is None else _activation(follower, last, modules)
    return (last if activation is None else follower), norm, residual, activation


def _is_disturbed(first: fx.Node, last: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether a node between both, which then run as one where `last` is, may write to what they read."""
    own, node = {first}, first.next
    while node is not last and first is not last:
        follows = any(each in own for each in node.all_input_nodes)
        if follows:
            own.add(node)
        elif _writes(node, modules):
            return True
        node = node.next
    return False


def _writes(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether a node may write to its input: PyTorch's names of what does end with "_", or it is said."""
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    said = "out" in node.kwargs or bool(node.kwargs.get("inplace"))
    written = name in ("setitem", "setattr") or (hasattr(operator, f"__{name}__") and name.startswith("i"))
    return node.op != "get_attr" and (said or written or name.endswith("_"))


def _only_user(node: fx.Node) -> fx.Node | None:
    return next(iter(node.users)) if len(node.users) == 1 else None


def _shape(node: fx.Node) -> Any:
    about = node.meta.get("tensor_meta")
    return None if about is None else (tuple(about.shape), about.dtype)


def _activation(
    node: fx.Node, before: fx.Node, modules: dict[str, nn.Module]
) -> tuple[Activation, Callable[[Any], Any]] | None:
    """The activation of an epilogue that a node is, and what PyTorch calls for it; None for any other."""
    if node.args[:1] != (before,):
        return None
    if node.op == "call_module":
        module = modules[str(node.target)]
        make = MODULES.get(type(module))
        return None if make is None else (make(module), module)
    if (
        node.op in ("call_function", "call_method")
        and len(node.args) == 1
        and set(node.kwargs) <= {"inplace"}
        and node.target in FUNCTIONS
    ):
        target: Any = node.target
        return FUNCTIONS[target], methodcaller(target) if isinstance(target, str) else target
    return None
