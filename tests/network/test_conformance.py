"""Networks on the ONNX standard's own conformance cases: the stored outputs are the truth.

Each case runs three times: all inputs given (shapes may be known only when it runs), all but the first constant (as
networks have them), and all constant (folded before it runs); in quick runs one of the last two, in turn. Exceptions
are in `exceptions.txt`, a reason each.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import onnx

from convmat.errors import NetworkError
from convmat.network.graph import MEMORY_LIMIT, Graph, Spec
from convmat.network.net import Network
from convmat.network.ops import OPERATORS, Options, Unknown
from convmat.network.ops.dtypes import BITS, limits
from convmat.network.reading.read import read_graph

from .cases import (
    ALSO,
    BODIES,
    ELEMENTS,
    FURTHER,
    REQUIRED,
    Array,
    Case,
    single,
    stored,
    with_constants,
    within,
)
from .held import failed

COUNTED_WITH = "1.23.2"
"""The onnx package whose cases are counted here; others have a few more or less."""


@cache
def exceptions() -> dict[str, str]:
    """Cases that cannot pass, and why."""
    lines = (Path(__file__).parent / "exceptions.txt").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if line and not line.startswith("#"))


def disagreement(case: Case, slow: bool) -> str:
    """How a network differs from what is stored; nothing where it does not."""
    names = [name for name, value in case.inputs.items() if isinstance(value, np.ndarray)]
    ways = [[], names[1:], names] if len(names) > 1 else [[], names] if names else [[]]
    if not slow and len(ways) > 2:  # in turn: the numbers are the same, folded or computed
        ways = [ways[0], ways[1 + sum(map(ord, case.name)) % 2]]
    for constant in ways:
        graph = read_graph(with_constants(case, constant).SerializeToString())
        try:
            said = _compared(case, graph, {n: a for n, a in case.inputs.items() if n not in constant})
        except NetworkError as error:
            said = str(error)
        if said:
            return f"{len(constant)} of {len(names)} inputs constant: {said}"
    return _shapes(case)


def _compared(case: Case, graph: Graph, inputs: dict[str, Array]) -> str:
    found = Network(graph, Options(exact=True), MEMORY_LIMIT)(inputs)
    found = found if isinstance(found, dict) else {graph.outputs[0]: found}
    for name, wanted in case.outputs.items():
        several = (found[name], wanted) if isinstance(wanted, list) else ([found[name]], [wanted])
        if type(found[name]) is not type(wanted) or len(several[0]) != len(several[1]):
            return f"{name} is {found[name]}, not {wanted}"
        for array, right in zip(*several, strict=True):
            if right is None:
                continue
            if (array.shape, array.dtype) != (right.shape, right.dtype):
                return f"{name} is {Spec.of(array)}, not {Spec.of(right)}"
            array, right = array[_defined(case, right)], right[_defined(case, right)]
            if not np.allclose(array, right, rtol=case.rtol, atol=case.atol, equal_nan=True):
                return f"{name} differs by {np.abs(np.subtract(array, right, dtype=float)).max()}"
    return ""


def _defined(case: Case, right: Array) -> Array:
    """Whether the standard says what each element becomes.

    A float beyond the range of a whole number may become anything. Versions of ml_dtypes, which convert what is stored
    to 2 and 4 bits, differ there.
    """
    first = next(iter(case.inputs.values()), None)
    if (
        case.op not in ("Cast", "CastLike")
        or right.dtype.name not in BITS
        or not isinstance(first, np.ndarray)
    ):
        return np.ones(right.shape, bool)
    low, high = limits(right.dtype)
    wide = np.trunc(first.astype(np.float64))
    return np.asarray((wide >= low) & (wide <= high))


def _shapes(case: Case) -> str:
    """What the rule of shapes says before anything runs, beside what there is."""
    for node in read_graph(case.model.SerializeToString()).nodes:
        tensors = {name for name, value in case.inputs.items() if isinstance(value, np.ndarray)}
        if node.op not in OPERATORS or any(name and name not in tensors for name in node.inputs):
            continue
        try:
            made = OPERATORS[node.op].shape(
                node, [Spec.of(case.inputs[n]) if n else None for n in node.inputs]
            )
        except Unknown:
            if node.op in REQUIRED:
                return "the shapes of its outputs are not known"
            continue
        for name, spec in zip(node.outputs, made, strict=False):
            if name in case.outputs and spec != Spec.of(case.outputs[name]):
                return f"{name} should be {spec}, and is {Spec.of(case.outputs[name])}"
    return ""


def passes(cases: Iterable[Case], slow: bool) -> int:
    """How many cases agree; what else there is is an error that lists it."""
    wrong, count = [], 0
    for case in cases:
        said, excused = disagreement(case, slow), exceptions().get(case.name)
        count += 1
        if said and excused is None:
            wrong.append(f"{case.name}: {said}")
        if not said and excused is not None:
            wrong.append(f"{case.name} agrees: take it out of exceptions.txt")
    assert not wrong, "\n".join(wrong)
    return count


def counted(found: int, wanted: int) -> None:
    """The number of cases, where it is known."""
    if onnx.__version__ == COUNTED_WITH:
        assert found == wanted


def test_the_cases_of_single_nodes(slow: bool) -> None:
    """One test, since making them takes seconds: all 411 that are required, other operators, and the reference's."""
    required, also = list(single(REQUIRED, ELEMENTS)), list(single(ALSO, ELEMENTS))
    further = list(single(FURTHER))
    counted(passes(required, slow), 411)
    passes(also, slow)
    counted(passes(further, slow), 343)
    assert {*OPERATORS, "Constant"} >= REQUIRED | ALSO
    assert not failed()
    assert set(exceptions()) <= {case.name for case in (*required, *also, *further)}


def test_the_cases_of_bodies_sequences_and_optionals(slow: bool) -> None:
    counted(passes(within(), slow), 60)
    assert set(OPERATORS) >= BODIES


def test_the_cases_converted_from_pytorch(slow: bool) -> None:
    counted(passes(stored("pytorch-converted"), slow), 82)


def test_the_operators_that_pytorch_exports(slow: bool) -> None:
    counted(passes(stored("pytorch-operator"), slow), 35)
