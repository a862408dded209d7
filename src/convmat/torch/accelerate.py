"""A PyTorch model with its convolutions computed by convmat wherever that is quicker, measured on an example.

    report = accelerate(model, x)      swaps layers in place and says which; restore(model) puts them back

A layer is swapped by changing its class: parameters, hooks, names and the model's state stay what they are. For
inference, convolution, normalisation, addition and activation then run as one where the model can be traced. For
training, batch normalisations are swapped too, and take over the limits of ReLU, ReLU6 and Hardtanh behind them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial, wraps
from types import new_class
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from convmat.engine import buffers

from .fusion import FusedGraph, inference_of, training_of
from .memory import Tensor
from .modules import BORROWS, COUNTERPARTS
from .norms import NORMS
from .report import Report, SwappedLayer
from .standing import over_state

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers that may leave their weight gradient to PyTorch."""

SWAPPED: dict[Any, Any] = COUNTERPARTS | NORMS
"""PyTorch's classes, and ours: normalisations in training alone, where they are not part of a product."""

ORIGINALS = {ours: theirs for theirs, ours in SWAPPED.items()}

WORTH = 1.03
"""How much quicker a layer must be to be swapped: less is noise."""

ROUNDS = 7


def accelerate(model: nn.Module, *example: Tensor) -> Report:
    """Swap the convolutions of a model that convmat computes more quickly on inputs like these, in place.

    `example`: what the model is called with. A model in training mode is measured with its gradients, one in evaluation
    mode without, and is fused. Nothing is made slower: what is not quicker stays as it is. Raises TypeError for a model
    without convolutions on the CPU.

    >>> model = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()).eval()
    >>> report = accelerate(model, torch.zeros(1, 8, 20, 20))
    >>> len(report.layers)
    1
    >>> restore(model)
    """
    restore(model)
    _materialise(model, example)
    with _keep_statistics(model):
        return _accelerate(model, example)


def _materialise(model: nn.Module, example: tuple[Tensor, ...]) -> None:
    """Call a model with lazy modules once, which makes these what they are to be; statistics begin anew."""
    lazy = [each for each in model.modules() if isinstance(each, LazyModuleMixin)]
    if not any(each.has_uninitialized_params() for each in lazy):
        return
    with _keep_statistics(model), torch.no_grad():
        model(*example)
    for each in lazy:
        if isinstance(each, _BatchNorm):
            each.reset_running_stats()


def _accelerate(model: nn.Module, example: tuple[Tensor, ...]) -> Report:
    training = model.training
    inputs = _inputs(model, example)
    if not any(_kind_of(module) in COUNTERPARTS for _, module, _ in inputs):
        raise TypeError(
            f"accelerate: the model has no convolution of torch.nn that runs on the CPU\n"
            f"  it is a {type(model).__name__}\n  give a model with Conv1d, Conv2d, Conv3d or their transposes"
        )
    if training:  # all that is computed forward waits for the way back, in each step
        buffers.keep_more(sum(x.numel() * x.element_size() for _, _, x in inputs))
    known: dict[Any, tuple[float, float, bool]] = {}
    layers = []
    for name, module, x in inputs:
        key = (str(module), tuple(x.shape), x.stride(), x.dtype, x.requires_grad)
        if key not in known:
            known[key] = _time_both(module, x, training)
        theirs, ours, borrows = known[key]
        kind, quicker = _kind_of(module).__name__, theirs / ours >= WORTH
        layers.append(SwappedLayer(name, kind, tuple(x.shape), theirs, ours, quicker, borrows))
    modules = [module for _, module, _ in inputs]
    borrowing = {module for module, each in zip(modules, layers, strict=True) if each.borrows}
    swapped = [each.swapped for each in layers]
    # Where what follows a convolution joins it, one that is not quicker alone may be so together with that.
    ways = [[False] * len(layers), swapped, *([] if training else [[True] * len(layers)])]
    made = []
    for way in ways:
        for module, taken in zip(modules, way, strict=True):
            if taken and module in borrowing:
                module.__dict__[BORROWS] = True
        fused = _swap(model, example, modules, way)
        made.append((_worn(model), fused))
        restore(model)
    try:
        seconds = _time_ways(model, example, [wear for wear, _ in made])
    except BaseException:  # Ctrl-C too: no way that is tried stays
        restore(model)
        raise
    after = min(seconds[0] / WORTH, *seconds[1:])
    best = 0 if after == seconds[0] / WORTH else seconds.index(after)
    wear, fused = made[best]
    wear()
    layers = [replace(each, swapped=swapped) for each, swapped in zip(layers, ways[best], strict=True)]
    return Report(tuple(layers), fused, seconds[0], seconds[best])


def _worn(model: nn.Module) -> Callable[[], None]:
    """What gives a model's modules the classes again that they have now, and the model its graph."""
    classes = [(module, type(module), module.__dict__.get(BORROWS)) for module in model.modules()]
    graph = model.__dict__.get("_convmat_graph")

    def wear() -> None:
        for module, kind, borrows in classes:
            module.__class__ = kind
            module.__dict__.pop(BORROWS, None)
            if borrows:
                module.__dict__[BORROWS] = True
        model.__dict__.pop("_convmat_graph", None)
        if graph is not None:
            model.__dict__["_convmat_graph"] = graph

    return wear


def _time_ways(
    model: nn.Module, example: tuple[Tensor, ...], ways: Sequence[Callable[[], None]]
) -> list[float]:
    """Seconds of the whole model in each way, taken in turns."""
    whole = partial(_call, model, example, model.training, list(model.parameters()))

    def in_way(wear: Callable[[], None]) -> Callable[[], object]:
        def call() -> object:
            wear()
            return whole()

        return call

    return _seconds([in_way(wear) for wear in ways])


def _swap(model: nn.Module, example: tuple[Tensor, ...], modules: Sequence[Any], way: Sequence[bool]) -> int:
    """Give the chosen modules our classes, and the model its fused graph: how many are fused."""
    for module, ours in zip(modules, way, strict=True):
        if ours:
            module.__class__ = _class_as(module, SWAPPED[_kind_of(module)])
    return _fuse(model, example) if any(way) else 0


def restore(model: nn.Module) -> None:
    """Put back PyTorch's own convolutions: the same parameters, in the same modules.

    >>> from convmat.torch import Conv2d
    >>> model = nn.Sequential(Conv2d(1, 1, 3))
    >>> restore(model)
    >>> type(model[0]) is nn.Conv2d
    True
    """
    if isinstance(model, _Accelerated):
        model.__dict__.pop("_convmat_graph", None)
        model.__class__ = _class_as(model, model._convmat_class)
    for module in model.modules():
        module.__dict__.pop(BORROWS, None)
        if (kind := _kind_of(module)) in ORIGINALS:
            module.__class__ = _class_as(module, ORIGINALS[kind])


def _kind_of(module: nn.Module) -> type:
    """A module's class, or what it was before `torch.nn.utils.parametrize` put a class of its own over it."""
    own = type(module)
    return own.__bases__[0] if _is_over_another(own) else own


def _class_as(module: nn.Module, kind: Any) -> Any:
    """The class that makes a module one of a kind: a new one where it is parametrised, whose class copies share."""
    own = type(module)
    if not _is_over_another(own):
        return kind
    about = {name: value for name, value in vars(own).items() if name not in ("__dict__", "__weakref__")}
    return new_class(own.__name__, (kind,), exec_body=lambda names: names.update(about))


def _is_over_another(own: type) -> bool:
    """Whether a class is one that `torch.nn.utils.parametrize` made for a module."""
    return own.__module__ == parametrize.__name__ and own.__name__.startswith("Parametrized")


class _Accelerated:
    """What an accelerated model's class has before its own: the fused graph where nothing follows the computation.

    A copy or a pickle is of the model's own class: it has the swapped layers, and no graph.
    """

    _convmat_class: type[nn.Module]

    def __reduce_ex__(self: Any, protocol: Any) -> Any:
        return over_state, (self._convmat_class, self._without_graph())

    def __prepare_scriptable__(self: Any) -> nn.Module:  # PyTorch's name for it
        """The model itself, which TorchScript can compile where it could before."""
        return over_state(self._convmat_class, self._without_graph())

    def _without_graph(self: Any) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_convmat_graph"}


def _make_class(own: Any) -> Any:
    """The class of an accelerated model, by the model's own."""

    @wraps(own.forward)  # tracers, and whoever else asks, see the model's own arguments
    def forward(self: Any, *arguments: Any, **keywords: Any) -> Any:
        found: FusedGraph | None = self.__dict__.get("_convmat_graph")
        if found is not None and not keywords and found.takes(self, arguments):
            return found(*arguments)
        return own.forward(self, *arguments, **keywords)

    about: dict[str, Any] = {"_convmat_class": own, "__module__": own.__module__, "forward": forward}
    return new_class(own.__name__, (_Accelerated, own), exec_body=lambda names: names.update(about))


def _fuse(model: nn.Module, example: tuple[Tensor, ...]) -> int:
    """Give the model its fused graph, if there is one, it answers alike and is quicker: how many are fused."""
    training = model.training
    with torch.set_grad_enabled(training):
        found = training_of(model, example) if training else inference_of(model, example)
        if found is None or not found.takes(model, example):
            return 0
        # What either writes to its arguments counts, too: a trace knows no `x += y`.
        mine, theirs = ([each.clone() for each in example] for _ in "ab")
        if not _agree((_call_with_seed(found, mine), mine), (_call_with_seed(model, theirs), theirs)):
            return 0
        wanted = list(model.parameters())
        calls = [partial(_call, each, example, training, wanted) for each in (model, found)]
        apart, fused = _seconds(calls)
    if fused >= apart:
        return 0
    target: Any = model
    target.__class__ = _make_class(target.__class__)
    model.__dict__["_convmat_graph"] = found
    return found.fused


def _call_with_seed(call: Callable[..., Any], inputs: Sequence[Tensor]) -> Any:
    """A call's answer, its random numbers the same in each call."""
    torch.manual_seed(0)
    return call(*inputs)


def _agree(found: Any, wanted: Any) -> bool:
    """Whether two answers are the same up to rounding, whatever they are made of."""
    if isinstance(wanted, torch.Tensor):
        found, wanted = found.detach(), wanted.detach()
        size = wanted.abs().max() if wanted.numel() else 0
        return bool(torch.allclose(found, wanted, rtol=1e-3, atol=1e-4 * float(size), equal_nan=True))
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_agree(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list | tuple):
        return len(found) == len(wanted) and all(map(_agree, found, wanted))
    return bool(found == wanted)


# -- measuring ---------------------------------------------------------------------------------------------------------


@contextmanager
def _keep_statistics(model: nn.Module) -> Iterator[None]:
    """The model's statistics and PyTorch's random numbers afterwards as before: measuring moves both."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers() if not is_lazy(buffer)]
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            with torch.no_grad():
                for buffer, value in kept:
                    buffer.copy_(value)


def _inputs(model: nn.Module, example: tuple[Tensor, ...]) -> list[tuple[str, Any, Tensor]]:
    """The layers on the CPU that can be swapped, with what they are called with, which requires a gradient or none."""
    found: dict[str, tuple[str, Any, Tensor]] = {}
    hooks = []
    kinds = SWAPPED if model.training else COUNTERPARTS
    for name, module in model.named_modules():
        if _kind_of(module) in kinds and all(each.device.type == "cpu" for each in module.parameters()):

            def keep(module: Any, inputs: Any, name: str = name) -> None:
                x = inputs[0]
                found.setdefault(name, (name, module, x.detach().requires_grad_(x.requires_grad)))

            hooks.append(module.register_forward_pre_hook(keep))
    try:
        with torch.set_grad_enabled(model.training):
            model(*example)
    finally:
        for hook in hooks:
            hook.remove()
    return list(found.values())


def _time_both(module: Any, x: Tensor, training: bool) -> tuple[float, float, bool]:
    """Seconds of a layer as PyTorch computes it and as convmat does; the module is left as it was.

    And whether these are with PyTorch's weight gradient.
    """
    own, wanted = type(module), list(module.parameters())
    other = _class_as(module, SWAPPED[_kind_of(module)])

    def as_class(kind: type[nn.Module], borrows: bool = False) -> Callable[[], object]:
        def call() -> object:
            module.__class__ = kind
            module.__dict__[BORROWS] = borrows
            return _call(module, (x,), training, wanted)

        return call

    grads = [each.grad for each in wanted]
    try:
        mixed = [as_class(other, True)] if training and isinstance(module, CONVS) else []
        theirs, ours, *borrowed = _seconds([as_class(own), as_class(other), *mixed])
    finally:
        module.__class__ = own
        module.__dict__.pop(BORROWS, None)
        for each, grad in zip(wanted, grads, strict=True):
            each.grad = grad
    best = min([ours, *(each * WORTH for each in borrowed)])
    return (theirs, ours, False) if best == ours else (theirs, borrowed[0], True)


def _call(
    call: Callable[..., Any], inputs: Sequence[Tensor], training: bool, parameters: Sequence[Tensor]
) -> object:
    """One call: forward and backward for training, forward alone otherwise; gradients of parameters are kept apart."""
    if not training:
        with torch.no_grad():
            return call(*inputs)
    given = [each.detach().requires_grad_(each.requires_grad) for each in inputs]
    outputs = [each for each in _tensors(call(*given)) if each.requires_grad]
    wanted = [each for each in (*given, *parameters) if each.requires_grad]
    return outputs and torch.autograd.grad(
        outputs, wanted, [torch.ones_like(each) for each in outputs], allow_unused=True
    )


def _tensors(answer: Any) -> Iterator[Tensor]:
    if isinstance(answer, torch.Tensor):
        yield answer
    elif isinstance(answer, dict):
        for each in answer.values():
            yield from _tensors(each)
    elif isinstance(answer, list | tuple):
        for each in answer:
            yield from _tensors(each)


def _seconds(calls: Sequence[Callable[[], object]]) -> list[float]:
    """The median seconds of each call, taken in turns, after one that does not count."""
    taken: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    for _ in range(ROUNDS):
        for call, seconds in zip(calls, taken, strict=True):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
    return [statistics.median(each) for each in taken]
