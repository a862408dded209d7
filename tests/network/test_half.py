"""Half precision between the products: computed in float32, rounded once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

import convmat
from convmat.network.graph import Node, Spec
from convmat.network.ops import OPERATORS, Options, Unknown
from convmat.network.ops.dtypes import number_of
from convmat.network.ops.half import AS_THEY_ARE
from convmat.network.reading.read import read_graph

from .cases import Array, Case, single
from .made import model
from .made import node as made_node
from .test_ops import ints, node, run

HALVES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]


def ulps(found: Array, wanted: Array) -> float:
    """The largest distance of half precision numbers from float64 ones, in units of their last place.

    Where terms cancel to 0, what float32 leaves of them is counted by a unit of 1/4096 of the largest.
    """
    about = ml_dtypes.finfo(found.dtype)
    wanted = wanted.astype(np.float64)
    most = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0)) / 4096
    size = np.maximum(np.abs(wanted), max(most, float(about.smallest_normal)))
    unit = 2.0 ** np.floor(np.log2(size)) * float(about.eps)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = wanted.astype(found.dtype).astype(np.float64)
        off = np.abs(found.astype(np.float64) - wanted) / unit
    same = (found.astype(np.float64) == rounded) | (np.isnan(wanted) & np.isnan(found.astype(np.float64)))
    return float(np.where(same, 0, off).max(initial=0))


@cache
def standard_cases() -> dict[str, list[Case]]:
    """The standard's cases of single nodes that read float32, by operator."""
    found: dict[str, list[Case]] = {}
    schemas = {op: onnx.defs.get_schema(op) for op in set(OPERATORS) - AS_THEY_ARE if onnx.defs.has(op)}
    narrow = {
        op
        for op, schema in schemas.items()
        if any("tensor(float16)" in each.allowed_type_strs for each in schema.type_constraints)
    }
    for case in single(narrow):
        values = (*case.model.graph.input, *case.model.graph.output)
        tensors = all(value.type.HasField("tensor_type") for value in values)
        if tensors and any(array.dtype == np.float32 for array in case.inputs.values()):
            found.setdefault(case.op, []).append(case)
    return found


def narrowed(array: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):
        return array.astype(dtype) if array.dtype == np.float32 else array


def outputs(made: Node, arrays: list[Array | None]) -> Iterator[Array]:
    """What has a name, of a step where there is one, of `run` elsewhere."""
    operator, specs = OPERATORS[made.op], [None if a is None else Spec.of(a) for a in arrays]
    moving = [
        None if s is None else Spec(s.shape, s.dtype, s.value if i else None) for i, s in enumerate(specs)
    ]
    try:
        shapes = operator.shape(made, moving)
    except Unknown:
        shapes = ()
    named = [spec for spec, name in zip(shapes, made.outputs, strict=False) if name]
    step = (
        operator.prepare(made, moving, tuple(named), Options(exact=True))
        if operator.prepare and shapes
        else None
    )
    if step is None:
        yield from (y for y, name in zip(operator(made, arrays), made.outputs, strict=False) if name)
        return
    ready = [np.empty(spec.shape, spec.dtype) for spec in named]
    with np.errstate(all="ignore"):
        step(*(a for a in arrays if a is not None), *ready)
    yield from ready


KEPT = 3
"""Cases of an operator: some have dozens."""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_operator_rounds_once(dtype: np.dtype[Any]) -> None:
    """On the standard's inputs, narrowed: within a unit in the last place of what float64 gives of the same numbers."""
    wrong = []
    for op, cases in standard_cases().items():
        for case in cases[:KEPT]:
            (made,) = read_graph(case.model.SerializeToString()).nodes
            given = [narrowed(case.inputs[name], dtype) if name else None for name in made.inputs]
            wide = [a if a is None or a.dtype != dtype else a.astype(np.float64) for a in given]
            exact = [y for y, name in zip(OPERATORS[op](made, wide), made.outputs, strict=False) if name]
            for found, wanted in zip(outputs(made, given), exact, strict=True):
                if found.dtype == dtype and (off := ulps(found, wanted)) > 1:
                    wrong.append(f"{case.name}: {off:.1f} units")
    assert not wrong, "\n".join(wrong)


# -- figures worked out apart ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_sums_that_half_precision_does_not_hold(dtype: np.dtype[Any]) -> None:
    ones = np.ones((1, 2, 300, 300), dtype)
    assert run(node("GlobalAveragePool"), ones).tolist() == [[[[1]], [[1]]]]
    assert run(node("GlobalLpPool", p=2), ones).tolist() == [[[[300]], [[300]]]]
    assert run(node("ReduceSum"), np.ones(5000, dtype)) == np.asarray([5000.0]).astype(dtype)
    assert run(node("ReduceMean"), ones).tolist() == [[[[1]]]]
    assert run(node("ReduceL2"), np.ones(90000, dtype)) == [300]
    assert run(node("ReduceLogSum"), ones).astype(float) == pytest.approx(np.log(180000), rel=2**-8)
    assert run(node("AveragePool", kernel_shape=(300, 300)), ones).tolist() == [[[[1]], [[1]]]]
    assert run(node("Softmax"), np.zeros((1, 65536), dtype)).ravel()[0] == 2.0**-16
    assert run(node("CumSum"), np.ones(5000, dtype), np.array(0)).astype(float)[-1] == pytest.approx(
        5000, rel=2**-8
    )
    assert run(node("Einsum", equation="i,i->"), ones.ravel()[:4096], ones.ravel()[:4096]) == 4096
    product = run(node("Gemm", alpha=2**-12), np.ones((1, 4096), dtype), np.ones((4096, 1), dtype))
    assert product.dtype == dtype
    assert product.tolist() == [[1]]
    scattered = run(
        node("ScatterElements", reduction="add"),
        np.zeros(1, dtype),
        np.zeros(4096, int),
        np.ones(4096, dtype),
    )
    assert scattered.tolist() == [4096]
    assert scattered.dtype == dtype


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(
    ("made", "weights"),
    [
        (node("GroupNormalization", 21, num_groups=2), (4, 4)),
        (node("GroupNormalization", 18, num_groups=2), (2, 2)),
        (node("InstanceNormalization"), (4, 4)),
        (node("LayerNormalization", axis=1), ((4, 112, 112),) * 2),
        (node("RMSNormalization", 23, axis=1), ((4, 112, 112),)),
        (node("MeanVarianceNormalization"), ()),
        (node("LpNormalization", axis=1), ()),
        (node("LRN", size=3, alpha=0.5), ()),
    ],
    ids=lambda each: each.op + str(each.version) if isinstance(each, Node) else "",
)
def test_an_ordinary_activation_is_normalised(
    dtype: np.dtype[Any], made: Node, weights: tuple[Any, ...]
) -> None:
    """Mean 3, deviation 2: within a unit in the last place of what float64 gives."""
    rng = np.random.default_rng(0)
    arrays = [
        rng.normal(3, 2, (1, 4, 112, 112)).astype(dtype),
        *(rng.normal(1, 0.1, w).astype(dtype) for w in weights),
    ]
    (found,) = outputs(made, arrays)
    (wanted,) = OPERATORS[made.op](made, [a.astype(np.float64) for a in arrays])
    assert found.dtype == dtype
    assert ulps(found, wanted) <= 1


def test_a_network_of_half_precision_stays_so() -> None:
    """MatMul by constants, one whose shape is known only when it runs, and a sum of many."""
    for dtype, kind in zip(HALVES, (10, 16), strict=True):
        w = np.ones((4096, 2), dtype)
        nodes = [made_node("MatMul", "x w", "y"), made_node("ReduceSum", "x axes", "s")]
        nodes += [
            made_node("NonZero", "x", "n"),
            made_node("Gather", "x i", "g", axis=0),
            made_node("MatMul", "g w", "z"),
        ]
        source = model(
            nodes, {"x": ("b", 4096)}, "y s z", {"w": w, "axes": ints(1), "i": ints(0)}, dtype=kind
        )
        found = convmat.load(source)(np.ones((3, 4096), dtype))
        assert {name: (a.dtype, set(a.astype(float).ravel().tolist())) for name, a in found.items()} == {
            name: (dtype, {4096.0}) for name in "ysz"
        }


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize(
    ("op", "version", "shapes"),
    [("CumProd", 26, [(300,), ()]), ("Det", 22, [(3, 6, 6)])],
)
def test_what_the_reference_computes_is_widened_too(
    op: str, version: int, shapes: list[tuple[int, ...]], dtype: np.dtype[Any]
) -> None:
    rng = np.random.default_rng(1)
    narrow: list[Array] = [
        (1 + rng.standard_normal(shape) / 16).astype(dtype) if shape else np.array(0) for shape in shapes
    ]
    wide = [each.astype(np.float32) if each.dtype == dtype else each for each in narrow]
    found: list[Array] = []
    for arrays in (narrow, wide):
        inputs = {f"x{i}": each for i, each in enumerate(arrays)}
        kinds = {name: number_of(each.dtype) for name, each in inputs.items()}
        shapes_ = {name: each.shape for name, each in inputs.items()}
        net = convmat.load(
            model([made_node(op, " ".join(inputs), "y")], shapes_, "y", opset=version, kinds=kinds)
        )
        found.append(net(inputs))
    assert found[0].dtype == dtype
    assert np.array_equal(found[0], found[1].astype(dtype))


def test_element_types_have_the_numbers_of_the_standard() -> None:
    for number, dtype in ((1, np.float32), (8, "U3"), (16, ml_dtypes.bfloat16), (22, ml_dtypes.int4)):
        assert number_of(np.dtype(dtype)) == number
    with pytest.raises(convmat.NetworkError) as refused:
        number_of(np.dtype("datetime64[s]"))
    assert str(refused.value) == (
        "load: ONNX has no elements of the type datetime64[s]\n  one of float32, uint8, int8, uint16, int16, int32, "
        "int64, bool, float16, float64, uint32, uint64, complex64, complex128, or one of ml_dtypes"
    )
