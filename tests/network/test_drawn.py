"""Every operator that is claimed here, in every version, on drawn values, beside onnxruntime.

The nodes are those of the standard's own cases, their float and bool inputs drawn anew; a node whose attributes and
inputs an older version has too is asked as a node of that version.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
import pytest

import convmat
from convmat.errors import NetworkError
from convmat.network.ops import OPERATORS
from convmat.network.ops.held import HELD
from convmat.network.reading.read import OLDEST

from .cases import BODIES, Array, Case, single

DIFFERENT = {
    "test_resize_downsample_scales_linear_align_corners": "onnxruntime ends at the rounded extent",
    "test_resize_downsample_scales_cubic_align_corners": "the same",
    "test_maxunpool_export_with_output_shape": "onnxruntime reads the indices as those of the output_shape",
    "test_dequantizelinear_axis": "operator set 10 has one scale; onnxruntime reads several",
    "test_quantizelinear_axis": "the same",
    "test_bernoulli": "drawn at random",
    "test_attention_4d_gqa_with_past_and_present_fp16": "onnxruntime sums in 16 bits",
    "test_dft": "onnxruntime's transform of an axis of 10 is off by 2e-4",
}
"""Cases that differ from onnxruntime, by the beginning of their names, and why."""


def drawn(rng: np.random.Generator, value: Array) -> Array:
    if value.dtype.kind == "f":
        scale = float(rng.choice([0.3, 1, 4]))
        return (rng.standard_normal(value.shape) * scale).astype(value.dtype)
    return rng.integers(0, 2, value.shape).astype(bool) if value.dtype == bool else value


def versions_of(case: Case) -> Iterator[Any]:
    """The case's model in each version of its operator that has all that its node has."""
    node = case.model.graph.node[0]
    schemas = [
        s for s in onnx.defs.get_all_schemas_with_history() if (s.domain, s.name) == ("", node.op_type)
    ]
    newest = case.model.opset_import[0].version
    for version in sorted({max(s.since_version, OLDEST) for s in schemas}):
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        model.opset_import[0].version, model.ir_version = version, min(model.ir_version, 10)
        if version > newest or len(model.opset_import) > 1:
            continue
        schema = onnx.defs.get_schema(node.op_type, version)
        fits = len(node.input) <= schema.max_input and {a.name for a in node.attribute} <= set(
            schema.attributes
        )
        with suppress(onnx.checker.ValidationError):
            onnx.checker.check_model(model)
            if fits:
                yield model


def session(model: Any) -> Any:
    """onnxruntime's of a model, None where it has none."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with suppress(Exception):  # a type or version that it has no kernel for
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    return None


def differs(found: Any, wanted: Any) -> str:
    """How an output differs from onnxruntime's; nothing where it does not, or is no tensor."""
    if not isinstance(wanted, np.ndarray | np.generic):
        return ""
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.dtype.name.startswith(("float8", "float4", "int4", "uint4", "int2", "uint2", "bfloat16")):
        return (
            "" if found.shape == wanted.shape else f"{found.shape}, not {wanted.shape}"
        )  # it hands out their bits
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        return f"{found.dtype}{found.shape}, not {wanted.dtype}{wanted.shape}"
    if found.dtype.kind != "f":
        return "" if np.array_equal(found, wanted) else "other numbers"
    near = 1e-2 if found.dtype.itemsize == 2 else 2e-4
    with np.errstate(all="ignore"):
        wide = found.astype(np.float64), wanted.astype(np.float64)
        same = np.isclose(*wide, rtol=near, atol=near, equal_nan=True)
    return "" if same.all() else f"{int((~same).sum())} of {same.size} elements are not near"


@pytest.mark.slow
def test_every_operator_and_version_beside_onnxruntime() -> None:
    asked: Counter[str] = Counter()
    wrong: list[str] = []
    for case in single((set(OPERATORS) | set(HELD)) - BODIES):
        if case.name.startswith(tuple(DIFFERENT)) or not all(
            isinstance(v, np.ndarray) for v in case.inputs.values()
        ):
            continue
        for model in versions_of(case):
            theirs = session(model)
            if theirs is None:
                continue
            name = f"{case.name} {model.opset_import[0].version}"
            try:
                net = convmat.load(model)
            except NetworkError as error:
                wrong.append(f"{name}: {error}")
                continue
            for seed in range(2):
                rng = np.random.default_rng(seed)
                inputs = {key: drawn(rng, value) for key, value in case.inputs.items()}
                try:
                    wanted = theirs.run(None, inputs)
                except Exception:  # inputs that it does not take
                    continue
                asked[case.op] += 1
                found = net(inputs)
                outputs = [found] if len(net.outputs) == 1 else [found[each] for each in net.outputs]
                said = [differs(*pair) for pair in zip(outputs, wanted, strict=True)]
                wrong += [f"{name}, seed {seed}: {each}" for each in said if each]
    assert wrong == []
    assert asked.total() >= 2000
    assert len(asked) >= 150
