"""The shapes of a network's inputs: declared, overridden, filled in by name; and random inputs of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arguments import several
from ..errors import NetworkError, shown
from .graph import Array, Graph, Input, Spec
from .preparing import infer

Extents = Sequence[int | str | None]


def overridden(graph: Graph, given: Mapping[str, int | Extents]) -> Graph:
    """The graph with other declared shapes: of an input by its name, or an extent by the word that stands for it."""
    by_name = {each.name: each for each in graph.inputs}
    words: dict[str, int] = {}
    shapes: dict[str, tuple[int | str | None, ...]] = {}
    for name, value in given.items():
        if name in by_name and not isinstance(value, int):
            shapes[name] = _checked(by_name[name], value)
            pairs = zip(by_name[name].shape or (), shapes[name], strict=False)
            words |= {word: n for word, n in pairs if isinstance(word, str) and isinstance(n, int)}
        elif _extent(value) and any(name in (each.shape or ()) for each in graph.inputs):
            words[name] = int(value)  # type: ignore[arg-type]  # _extent says that it is a number
        else:
            raise NetworkError(
                f"with_shapes: {name!r} = {shown(value)} is no shape of this network\n"
                f"  inputs: {', '.join(map(str, graph.inputs))}\n"
                f"  name an input and its extents, or a word and its extent"
            )
    inputs = []
    for each in graph.inputs:
        shape = shapes.get(each.name, each.shape)
        if shape is not None:
            shape = tuple(words.get(n, n) if isinstance(n, str) else n for n in shape)
        inputs.append(replace(each, shape=shape))
    return replace(graph, inputs=tuple(inputs))


def _checked(wanted: Input, value: Any) -> tuple[int | str | None, ...]:
    shape = several(value) or ()
    whole = all(n is None or isinstance(n, str) or _extent(n) for n in shape)
    if not whole or (wanted.shape is not None and len(shape) != len(wanted.shape)):
        axes = "" if wanted.shape is None else f"{len(wanted.shape)} "
        raise NetworkError(
            f"with_shapes: {shown(value)} is no shape of the input {wanted.name!r}\n"
            f"  the network takes {wanted}\n  give {axes}extents, whole numbers from 0 on, or None where any fits"
        )
    return tuple(n if n is None or isinstance(n, str) else int(n) for n in shape)


def _extent(n: Any) -> bool:
    return isinstance(n, int | np.integer) and not isinstance(n, bool) and 0 <= int(n) < 2**63


SIDES = (224, 32, 64, 96, 112, 128, 160, 192, 240, 256, 299, 300, 320, 384, 416, 448, 512, 640, 28, 16, 8)
"""Extents that are tried where one is left open: those of pictures, as networks take them."""


def declared(graph: Graph, call: str, line: bool = False) -> dict[str, Spec]:
    """Specs of the inputs as they are declared. Raises NetworkError where an extent is left open.

    `line`: the fix is one for the command line.
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
        shapes = {each.name: example(graph)[each.name] for each in unknown}
        fix = f"net.with_shapes({shapes})"
        if line:
            fix = " ".join(f"--shape {name}={'x'.join(map(str, shape))}" for name, shape in shapes.items())
        first = unknown[0]
        raise NetworkError(
            f"{call}: the shape of the input {first.name!r} is not known\n  it is declared as {first}\n"
            f"  say which, e.g. {fix}"
        )
    return found


def example(graph: Graph) -> dict[str, tuple[int, ...]]:
    """Shapes of its tensors that the network runs on, one image of the first of SIDES that fits the whole of it."""
    tried = [{each.name: _filled(graph, each, side) for each in graph.inputs} for side in SIDES]
    return next((shapes for shapes in tried if runs(graph, shapes)), tried[0])


def runs(graph: Graph, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the shapes of all values follow from these of the inputs."""
    specs = {each.name: Spec(shapes[each.name], each.dtype) for each in graph.inputs if each.kind == "tensor"}
    try:
        infer.inferred(graph, specs)
    except NetworkError:
        return False
    return True


def misfit(graph: Graph, given: Mapping[str, Spec], error: NetworkError) -> NetworkError:
    """The error of a network that cannot run on what it is given, with a shape that it runs on, if one is near.

    Near: with the extents that are declared, and as many channels as the first convolution takes.
    """
    near = {}
    for each in graph.inputs:
        if each.name not in given or each.kind != "tensor":
            return error
        near[each.name] = _filled(graph, each, 224, given[each.name].shape)
    wrong = [each for each in graph.inputs if near[each.name] != given[each.name].shape]
    if not wrong or not runs(graph, near):
        return error
    first = wrong[0]
    have, shape = given[first.name].shape, near[first.name]
    reason = str(error).removeprefix("load: ").splitlines()[:2][-1].strip()
    turned = ""
    if len(have) == len(shape) == 4 and (have[0], have[3], *have[1:3]) == shape:
        turned = f", e.g. {first.name}.transpose(0, 3, 1, 2)"
    return NetworkError(
        f"call: the network cannot run on an input {first.name!r} of shape {have}\n"
        f"  it takes {first};  {reason}\n"
        f"  give an array of shape {shape}{turned}"
    )


def _whole(shape: Sequence[int | str | None] | None) -> tuple[int, ...] | None:
    """Extents that are all declared."""
    whole = tuple(n for n in shape or () if isinstance(n, int))
    return whole if shape is not None and len(whole) == len(shape) else None


def _filled(graph: Graph, each: Input, side: int, given: Sequence[int] | None = None) -> tuple[int, ...]:
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


def random(specs: Mapping[str, Spec], seed: int = 0) -> dict[str, Array]:
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
