"""The standard's cases of what is left to its reference: they hold the table of `network.ops.held`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import onnx

import convmat
from convmat.network.ops.half import is_half
from convmat.network.ops.held import HELD, find_refusal

from .cases import Case, single

OPTIONAL = onnx.defs.OpSchema.FormalParameterOption.Optional
OPERATOR_SETS = onnx.defs.onnx_opset_version()


# What the standard's cases leave out; the tests of `test_held` hold it, each for all versions that the table names.
ELSEWHERE = {
    ("Bernoulli", "dtype"), ("Bernoulli", "seed"), ("DFT", "dft_length input"), ("DFT", "no axis"),
    ("TensorScatter", "axis"), ("TensorScatter", "no write_indices"),
    *((f"{name}Window", "output_datatype") for name in ("Blackman", "Hamming", "Hann")),
}  # fmt: skip
DRAWN = {"Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}


@cache
def schemas() -> dict[str, dict[int, Any]]:
    """All versions of the standard's operators, by the name they have in the table."""
    found: dict[str, dict[int, Any]] = {}
    for each in onnx.defs.get_all_schemas_with_history():
        if each.domain in ("", "ai.onnx.ml"):
            name = f"{each.domain}.{each.name}" if each.domain else each.name
            found.setdefault(name, {})[each.since_version] = each
    return found


def operator(proto: Any) -> str:
    return f"{proto.domain}.{proto.op_type}" if proto.domain else str(proto.op_type)


def inputs_of(proto: Any, schema: Any) -> list[str]:
    """The optional inputs that a node has."""
    places = zip(schema.inputs, proto.input, strict=False)
    return [each.name for each, name in places if name and each.option == OPTIONAL]


def cases() -> Iterator[tuple[str, int, Case]]:
    """The standard's cases of the table's operators, in each of its versions that has their attributes and inputs."""
    known = schemas()
    for case in single({name.rpartition(".")[2] for name in HELD}, domains=("", "ai.onnx.ml")):
        (proto,) = case.model.graph.node
        name = operator(proto)
        for version in HELD[name].versions if name in HELD else ():
            schema = known[name].get(version)
            used = {each.name for each in proto.attribute}
            if schema is None or not used <= set(schema.attributes) or len(proto.input) > schema.max_input:
                continue
            if name in DRAWN or find_refusal(name, version, used, inputs_of(proto, schema)) is not None:
                continue
            made = onnx.ModelProto()
            made.CopyFrom(case.model)
            for each in made.opset_import:
                each.version = max(version, 6) if each.domain == proto.domain else each.version
            yield name, version, case._replace(model=made)


def agrees(case: Case, found: Any) -> bool:
    for name, wanted in case.outputs.items():
        array = found[name] if isinstance(found, dict) else found
        if (array.shape, array.dtype) != (wanted.shape, wanted.dtype):
            return False
        if wanted.dtype.hasobject or wanted.dtype.kind not in "fV":
            same = array.tolist() == wanted.tolist()
        else:
            a, b = (each.astype(np.float64) for each in (array, wanted))
            # The reference rounds half precision after each step, we once at the end.
            steps = 4 * float(ml_dtypes.finfo(array.dtype).eps) if is_half(array) else 0.0
            rtol, atol = max(case.rtol, steps), max(case.atol, steps)
            same = np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
        if not same:
            return False
    return True


def failed() -> list[tuple[str, int]]:
    """The cases, by name and version, that the reference fails though the table has what they use."""
    seen: set[tuple[str, Any]] = set()
    wrong = []
    for name, version, case in cases():
        (proto,) = case.model.graph.node
        schema = schemas()[name][version]
        given = inputs_of(proto, schema)
        absent = [e.name for e in schema.inputs if e.option == OPTIONAL and e.name not in given]
        found = convmat.load(case.model.SerializeToString())(case.inputs)
        if not agrees(case, found):
            wrong.append((case.name, version))
        seen |= {(name, version), *((name, each.name) for each in proto.attribute)}
        seen |= {*((name, f"{each} input") for each in given), *((name, f"no {each}") for each in absent)}
    missing = _missing(seen)
    assert not missing, missing
    return wrong


def _missing(seen: set[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """What the table has and neither the cases nor `test_held` do."""
    missing: list[tuple[str, Any]] = []
    for name, held in HELD.items():
        if name in DRAWN or min(held.versions) > OPERATOR_SETS:
            continue
        inputs = [each.name for version in held.versions if version in schemas()[name]
                  for each in schemas()[name][version].inputs if each.option == OPTIONAL]  # fmt: skip
        wanted = [*(v for v in held.versions if v <= OPERATOR_SETS), *held.attributes.split()]
        for each in held.optional.split():
            wanted += [f"{each} input", f"no {each}"] if each in inputs else []
        said = {(name, each) for each in wanted} - seen
        missing += [each for each in said if each not in ELSEWHERE]
    return missing
