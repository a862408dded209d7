"""The ONNX standard's own conformance cases: models, inputs, outputs and tolerances, as the onnx package has them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper

from convmat.network.reading.read import OLDEST

Array = npt.NDArray[Any]


def _words(text: str) -> set[str]:
    return set(text.split())


REQUIRED = _words(
    """
    Conv ConvTranspose AveragePool MaxPool GlobalAveragePool GlobalMaxPool LpPool BatchNormalization
    InstanceNormalization GroupNormalization LRN Gemm MatMul Relu LeakyRelu PRelu Clip Sigmoid HardSigmoid
    HardSwish Elu Selu Celu Gelu Mish Softplus Softsign Swish ThresholdedRelu Tanh Softmax LogSoftmax Add Sub Mul
    Div Pow Sqrt Sum Max Min Exp Log Neg Abs Concat Flatten Reshape Transpose Squeeze Unsqueeze Pad Upsample
    DepthToSpace SpaceToDepth Dropout Identity Slice Split ReduceMean ReduceMax ReduceSum Expand Gather Constant
    ConstantOfShape Shape Where Equal Resize Col2Im
    """
)
FURTHER = _words(
    """
    DeformConv ConvInteger QLinearConv MaxUnpool LayerNormalization CausalConvWithState QuantizeLinear DequantizeLinear
    DynamicQuantizeLinear QLinearMatMul MatMulInteger Cast CastLike RNN GRU LSTM NonMaxSuppression RoiAlign GridSample
    ReverseSequence Trilu TopK GatherElements GatherND ScatterElements ScatterND OneHot NonZero Tile Range CumSum Einsum
    Mod
    """
)
"""Operators whose cases of every element type are run."""

ALSO = _words(
    """
    And Or Xor Not Greater GreaterOrEqual Less LessOrEqual Cos Sin Reciprocal Floor Ceil Round Sign Erf ArgMax
    ArgMin Compress Hardmax Shrink Size Mean ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceSumSquare GlobalLpPool LpNormalization MeanVarianceNormalization RMSNormalization IsNaN IsInf BitShift
    BitwiseAnd BitwiseOr BitwiseXor BitwiseNot Sinh Cosh Tan Asin Acos Atan Asinh Acosh Atanh
    """
)
"""Operators written here that the required set leaves out."""

BODIES = _words(
    """
    If Loop Scan SequenceMap SequenceEmpty SequenceConstruct SequenceAt SequenceInsert SequenceErase SequenceLength
    ConcatFromSequence SplitToSequence Optional OptionalGetElement OptionalHasElement
    """
)
"""Operators with bodies, and those of sequences and optionals: cases of several nodes too."""

RANDOM = {f"test_training_dropout{rest}" for rest in ("", "_mask", "_default", "_default_mask")}
"""Cases whose outputs are drawn at random."""

ELEMENTS = {getattr(onnx.TensorProto, name) for name in _words("FLOAT DOUBLE INT64 INT32 INT8 UINT8 BOOL")}


class Case(NamedTuple):
    """A model, what goes in by name, and what must come out: arrays, lists of them, None."""

    name: str
    model: Any
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    rtol: float
    atol: float

    @property
    def op(self) -> str:
        return str(self.model.graph.node[0].op_type)


@cache
def node_cases() -> tuple[Any, ...]:
    """All cases of single nodes, as the package makes them."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of its examples overflow, or convert NaN
        made = tuple(load_model_tests(kind="node"))
    if made[0].model is None:
        pytest.skip(f"onnx {onnx.__version__} has the cases of single nodes as files alone")
    return made


def single(
    operators: set[str], elements: set[int] | None = None, domains: tuple[str, ...] = ("",)
) -> Iterator[Case]:
    """The cases of these operators that are one node, without the random ones; only of these element types."""
    for each in node_cases():
        graph, node = each.model.graph, each.model.graph.node[0]
        types = [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)]
        old = any(opset.version < OLDEST for opset in each.model.opset_import if not opset.domain)
        one = (
            len(graph.node) == 1
            and node.op_type in operators
            and node.domain in domains
            and "_expanded" not in each.name
        )
        if one and not old and each.name not in RANDOM and (elements is None or elements.issuperset(types)):
            for inputs, outputs in each.data_sets:
                yield _case(each.name, each.model, inputs, outputs, each.rtol, each.atol)


def within() -> Iterator[Case]:
    """The cases that have an operator of BODIES in them, functions written out too."""
    for each in node_cases():
        if BODIES.intersection(node.op_type for node in each.model.graph.node):
            for inputs, outputs in each.data_sets:
                yield _case(each.name, each.model, inputs, outputs, each.rtol, each.atol)


def stored(folder: str) -> Iterator[Case]:
    """The cases of whole models that the package holds as files."""
    root = Path(onnx.__file__).parent / "backend/test/data" / folder
    for path in sorted(root.iterdir()):
        model = onnx.load(path / "model.onnx")
        about = path / "data.json"
        tolerance = json.loads(about.read_text()) if about.exists() else {}
        for data in sorted(path.glob("test_data_set_*")):
            inputs, outputs = ([_tensor(p) for p in _numbered(data, kind)] for kind in ("input", "output"))
            yield _case(
                path.name, model, inputs, outputs, tolerance.get("rtol", 1e-3), tolerance.get("atol", 1e-7)
            )


def _numbered(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"{kind}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))


def _tensor(path: Path) -> Any:
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return tensor


def _case(name: str, model: Any, inputs: Any, outputs: Any, rtol: float, atol: float) -> Case:
    graph = model.graph
    constant = {tensor.name for tensor in graph.initializer}
    free = [value.name for value in graph.input if value.name not in constant]
    made = dict(zip(free, map(_array, inputs), strict=True))
    return Case(
        name,
        model,
        made,
        dict(zip((v.name for v in graph.output), map(_array, outputs), strict=True)),
        rtol,
        atol,
    )


def _array(value: Any) -> Any:
    """An array, a list of them, or None."""
    if value is None or isinstance(value, list):
        return None if value is None else [_array(each) for each in value]
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def with_constants(case: Case, names: list[str]) -> Any:
    """The case's model with some of its inputs as constants."""
    made = onnx.ModelProto()
    made.CopyFrom(case.model)
    made.graph.initializer.extend(numpy_helper.from_array(case.inputs[name], name) for name in names)
    return made
