"""The shapes of a network's inputs: declared, overridden, filled in by name; and random inputs of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..arguments import several
from ..errors import NetworkError, shown
from .graph import Array, Graph, Input, Spec

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


def declared(graph: Graph, call: str, line: bool = False) -> dict[str, Spec]:
    """Specs of the inputs as they are declared. Raises NetworkError where an extent is left open.

    `line`: the fix is one for the command line.
    """
    found = {}
    for each in graph.inputs:
        if each.kind != "tensor":  # nothing is known of what is in it before a call
            continue
        shape = each.shape
        if shape is None or not all(isinstance(n, int) for n in shape):
            numbers = _filled(each)
            fix = f"net.with_shapes({{{each.name!r}: {tuple(numbers)}}})"
            if line:
                fix = f"--shape {each.name}={'x'.join(map(str, numbers))}"
            raise NetworkError(
                f"{call}: the shape of the input {each.name!r} is not known\n  it is declared as {each}\n"
                f"  say which, e.g. {fix}"
            )
        found[each.name] = Spec(tuple(int(n) for n in shape if n is not None), each.dtype)
    return found


def _filled(each: Input) -> list[int]:
    """An example of a shape: one image, of 224 pixels a side."""
    shape = (1, 3, None, None) if each.shape is None else each.shape
    return [n if isinstance(n, int) else 1 if i == 0 else 224 for i, n in enumerate(shape)]


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
