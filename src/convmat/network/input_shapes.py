"""The shapes of a network's inputs: declared, overridden, filled in by name; and random inputs of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

import numpy as np

from ..arguments import entries_of
from ..errors import NetworkError, format_value
from .graph import MEMORY_LIMIT, Array, Graph, Input, Spec
from .preparing import infer

Extents = Sequence[int | str | None]


def override_shapes(graph: Graph, given: Mapping[str, int | Extents]) -> Graph:
    """The graph with other declared shapes: of an input by its name, or an extent by the word that stands for it."""
    by_name = {each.name: each for each in graph.inputs}
    symbols: dict[str, int] = {}
    shapes: dict[str, tuple[int | str | None, ...]] = {}
    for name, value in given.items():
        if name in by_name and not isinstance(value, int):
            shapes[name] = _read_extents(by_name[name], value)
            pairs = zip(by_name[name].shape or (), shapes[name], strict=False)
            symbols |= {symbol: n for symbol, n in pairs if isinstance(symbol, str) and isinstance(n, int)}
        elif _extent(value) and any(name in (each.shape or ()) for each in graph.inputs):
            symbols[name] = int(value)
        else:
            raise NetworkError(
                f"with_shapes: {name!r} = {format_value(value)} is no shape of this network\n"
                f"  inputs: {', '.join(map(str, graph.inputs))}\n"
                f"  name an input and its extents, or a word and its extent"
            )
    inputs = []
    for each in graph.inputs:
        shape = shapes.get(each.name, each.shape)
        if shape is not None:
            shape = tuple(symbols.get(n, n) if isinstance(n, str) else n for n in shape)
        inputs.append(replace(each, shape=shape))
    return replace(graph, inputs=tuple(inputs))


def _read_extents(wanted: Input, value: Any) -> tuple[int | str | None, ...]:
    shape = entries_of(value) or ()
    whole = all(n is None or isinstance(n, str) or _extent(n) for n in shape)
    if not whole or (wanted.shape is not None and len(shape) != len(wanted.shape)):
        axes = "" if wanted.shape is None else f"{len(wanted.shape)} "
        raise NetworkError(
            f"with_shapes: {format_value(value)} is no shape of the input {wanted.name!r}\n"
            f"  the network takes {wanted}\n  give {axes}extents, whole numbers from 0 on, or None where any fits"
        )
    return tuple(n if n is None or isinstance(n, str) else int(n) for n in shape)


def _extent(n: Any) -> TypeGuard[int]:
    return isinstance(n, int | np.integer) and not isinstance(n, bool) and 0 <= int(n) < 2**63


SIDES = (224, 32, 64, 96, 112, 128, 160, 192, 240, 256, 299, 300, 320, 384, 416, 448, 512, 640, 28, 16, 8)
"""Extents that are tried where one is left open: those of pictures, as networks take them."""


def declared_specs(graph: Graph, call: str, line: bool = False, limit: int = MEMORY_LIMIT) -> dict[str, Spec]:
    """Specs of the inputs as they are declared. Raises NetworkError where an extent is left open.

    `line`: the fix is one for the command line; `limit`: bytes that a value may take.
    """
    found, unknown = {}, []
    for each in graph.inputs:
        if each.kind != "tensor":  # nothing is known of what is in it before a call
            continue
        if _whole(each.shape) is None:
            unknown.append(each)
        else:
            found[each.name] = Spec(_whole(each.shape) or (), each.dtype)
    if unknown:
        shapes = {each.name: example_shapes(graph, limit)[each.name] for each in unknown}
        fix = f"net.with_shapes({shapes})"
        if line:
            fix = " ".join(f"--shape {name}={'x'.join(map(str, shape))}" for name, shape in shapes.items())
        first = unknown[0]
        raise NetworkError(
            f"{call}: the shape of the input {first.name!r} is not known\n  it is declared as {first}\n"
            f"  say which, e.g. {fix}"
        )
    return found


def example_shapes(graph: Graph, limit: int = MEMORY_LIMIT) -> dict[str, tuple[int, ...]]:
    """Shapes of its tensors that the network runs on, one image of the first of SIDES that fits the whole of it."""
    tried = [{each.name: _fill_shape(graph, each, side) for each in graph.inputs} for side in SIDES]
    return next((shapes for shapes in tried if can_run(graph, shapes, limit)), tried[0])


def can_run(graph: Graph, shapes: Mapping[str, tuple[int, ...]], limit: int = MEMORY_LIMIT) -> bool:
    """Whether the shapes of all values follow from these of the inputs, none larger than `limit` bytes."""
    specs = {each.name: Spec(shapes[each.name], each.dtype) for each in graph.inputs if each.kind == "tensor"}
    try:
        infer.infer_specs(graph, specs, limit)
    except NetworkError:
        return False
    return True


def misfit_error(graph: Graph, given: Mapping[str, Spec], error: NetworkError, limit: int) -> NetworkError:
    """The error of a network that cannot run on what it is given, with a shape that it runs on, if one is near.

    Near, in this order: the array with its channels moved to the front; with the extents that are declared, and as many
    channels as the first convolution takes; enlarged where an extent is left open.
    """
    tensors = [each for each in graph.inputs if each.kind == "tensor"]
    if len(tensors) != len(graph.inputs) or any(each.name not in given for each in tensors):
        return error
    have = {each.name: given[each.name].shape for each in tensors}
    if can_run(graph, have, limit):  # what stands in the way is no shape: a limit, or what no plan does
        return error
    for near in _near(graph, have):
        wrong = [each for each in tensors if near[each.name] != have[each.name]]
        if wrong and can_run(graph, near, limit):
            break
    else:
        return error
    first = wrong[0]
    shape = near[first.name]
    reason = str(error).removeprefix("load: ").splitlines()[:2][-1].strip()
    turned = f", e.g. {first.name}{_FRONT}" if _channels_first(have[first.name]) == shape else ""
    return NetworkError(
        f"call: the network cannot run on an input {first.name!r} of shape {have[first.name]}\n"
        f"  it takes {first};  {reason}\n"
        f"  give an array of shape {shape}{turned}"
    )


_FRONT = ".transpose(0, 3, 1, 2)"


def _channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of pictures (B, H, W, C) as (B, C, H, W)."""
    return (shape[0], shape[3], *shape[1:3]) if len(shape) == 4 else shape


def _near(graph: Graph, have: Mapping[str, tuple[int, ...]]) -> Iterator[dict[str, tuple[int, ...]]]:
    """Shapes like those that are there, the nearest first."""
    turned = {each.name: _channels_first(have[each.name]) for each in graph.inputs}
    if all(_declares(each, turned[each.name]) for each in graph.inputs):
        yield turned
    yield {each.name: _fill_shape(graph, each, 224, have[each.name]) for each in graph.inputs}
    for side in sorted(SIDES):
        yield {each.name: _enlarge(each, have[each.name], side) for each in graph.inputs}


def _declares(each: Input, shape: tuple[int, ...]) -> bool:
    """Whether an input is declared so that it takes arrays of a shape."""
    wanted = each.shape
    return wanted is None or (
        len(wanted) == len(shape)
        and all(n == w for n, w in zip(shape, wanted, strict=True) if isinstance(w, int))
    )


def _enlarge(each: Input, have: tuple[int, ...], side: int) -> tuple[int, ...]:
    """A shape whose open extents behind batch and channels are so long at least."""
    wanted = each.shape if each.shape is not None and len(each.shape) == len(have) else (None,) * len(have)
    return tuple(
        w if isinstance(w, int) else max(n, side) if at > 1 else n
        for at, (n, w) in enumerate(zip(have, wanted, strict=True))
    )


def suggest_axes(wanted: Input, shape: tuple[int, ...]) -> str:
    """What to do about an array with too many or too few axes: the expression that makes it fit, where there is one.

    >>> suggest_axes(Input("x", np.dtype("f4"), (1, 3, None, None)), (20, 30, 3))
    'e.g. x.transpose(2, 0, 1)[None]'
    """
    needed = wanted.shape or ()
    for made, expression in (
        ((1, *shape), f"{wanted.name}[None]"),
        ((1, *shape[-1:], *shape[:-1]), f"{wanted.name}.transpose(2, 0, 1)[None]"),
        ((1, 1, *shape), f"{wanted.name}[None, None]"),
    ):
        turned = "transpose" not in expression or len(shape) == 3
        if turned and len(made) == len(needed) and _declares(wanted, made):
            return f"e.g. {expression}"
    return f"give an array with {len(needed)} axes"


def _whole(shape: Sequence[int | str | None] | None) -> tuple[int, ...] | None:
    """Extents that are all declared."""
    whole = tuple(n for n in shape or () if isinstance(n, int))
    return whole if shape is not None and len(whole) == len(shape) else None


def _fill_shape(graph: Graph, each: Input, side: int, given: Sequence[int] | None = None) -> tuple[int, ...]:
    """What is declared of an input, the channels that the convolutions behind it take, and for all else `given`.

    Without it, a batch of one and so many elements a side.
    """
    shape: list[Any] = list(each.shape if each.shape is not None else given or (1, 3, None, None))
    for at, n in enumerate(shape):
        if isinstance(n, int):
            continue
        channels = _channels(graph, each.name) if at == 1 and len(shape) > 2 else None
        if channels is None and given is not None and at < len(given):
            channels = given[at]
        shape[at] = channels if channels is not None else 1 if at == 0 else side
    return tuple(shape)


def _channels(graph: Graph, name: str) -> int | None:
    """How many channels the first convolution that reads an input takes, where its filters are constant."""
    for node in graph.nodes:
        w = graph.constants.get(node.inputs[1]) if node.op == "Conv" and not node.domain else None
        if w is not None and node.inputs[0] == name:
            return int(w.shape[1] * node.get("group", 1))
    return None


def random_inputs(specs: Mapping[str, Spec], seed: int = 0) -> dict[str, Array]:
    """Inputs of these Specs: standard normal where they are floats, from 0 to 255 (or 0 and 1) where whole numbers."""
    rng = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for name, spec in specs.items():
        if spec.dtype.kind in "fc":
            made[name] = rng.standard_normal(spec.shape, np.float32).astype(spec.dtype)
        elif spec.dtype.kind in "iub":
            most = 1 if spec.dtype.kind == "b" else min(255, np.iinfo(spec.dtype).max)
            made[name] = rng.integers(0, most + 1, spec.shape).astype(spec.dtype)
        else:
            made[name] = rng.standard_normal(spec.shape, np.float32).astype(spec.dtype)
    return made
