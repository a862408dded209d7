"""Fills `<!-- operators: .. -->` in a page from the registry: every operator of the standard, in a row."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import onnx

from convmat.network.ops import OPERATORS
from convmat.network.ops.held import HELD
from convmat.network.ops.indexed import FOUND
from convmat.network.ops.kernels import KINDS
from convmat.network.ops.moving import COPIES
from convmat.network.ops.pointwise import EXPRESSIONS
from convmat.network.reading.read import OLDEST

PRODUCTS = ("AveragePool", "Conv", "ConvInteger", "ConvTranspose", "Gemm", "MatMul", "MaxPool", "QLinearConv")
"""Operators that the engine computes by plans, or as maxima of windows."""

STEPS = (
    "DeformConv", "DynamicQuantizeLinear", "GRU", "GridSample", "LSTM", "NonMaxSuppression", "RNN", "ReverseSequence",
    "RoiAlign", "TopK", "ai.onnx.ml.TreeEnsemble", "ai.onnx.ml.TreeEnsembleClassifier",
    "ai.onnx.ml.TreeEnsembleRegressor",
)  # fmt: skip
"""Operators most of whose step are kernels of the engine's."""

OPTIONAL = onnx.defs.OpSchema.FormalParameterOption.Optional

NAMES = {"float": "float32", "double": "float64"}


def standard() -> dict[str, list[Any]]:
    """The versions of each operator that operator sets from the oldest read on have, the oldest first."""
    found: dict[str, dict[int, Any]] = {}
    for each in onnx.defs.get_all_schemas_with_history():
        if each.domain in ("", "ai.onnx.ml") and not each.deprecated:
            name = f"{each.domain}.{each.name}" if each.domain else each.name
            found.setdefault(name, {})[each.since_version] = each
    kept = {}
    for name, versions in sorted(found.items(), key=lambda item: ("." in item[0], item[0].lower())):
        oldest = 1 if "." in name else OLDEST
        first = max((v for v in versions if v <= oldest), default=min(versions))
        kept[name] = [versions[v] for v in sorted(versions) if v >= first]
    return kept


def where(name: str) -> str:
    """The engine, NumPy or the reference: whichever computes an operator."""
    if name in (*PRODUCTS, *STEPS, *KINDS, *COPIES, *EXPRESSIONS, *FOUND):
        return "engine, NumPy"
    if name in OPERATORS or name == "Constant":
        return "NumPy"
    return "reference" if name in HELD else "refused"


def types(schemas: list[Any]) -> str:
    """Element types of the first input, or of the output where there is none, in the newest version."""
    newest = schemas[-1]
    first = (newest.inputs or newest.outputs)[0]
    words = {word.removeprefix("optional(") for word in first.types}
    tensors = sorted(word[7:].rstrip(")") for word in words if word.startswith("tensor("))
    others = {word.partition("(")[0] for word in words if not word.startswith("tensor(")}
    return ", ".join([*_grouped(NAMES.get(word, word) for word in tensors), *sorted(others)])


def _grouped(names: Iterable[str]) -> list[str]:
    """float16, float32 and float64 as float16/32/64, and likewise."""
    groups: dict[str, list[int]] = {}
    plain = []
    for name in names:
        found = re.fullmatch(r"(float|int|uint|complex)(\d+)", name)
        if found:
            groups.setdefault(found[1], []).append(int(found[2]))
        else:
            plain.append(name)
    return [*(kind + "/".join(map(str, sorted(bits))) for kind, bits in sorted(groups.items())), *plain]


def refuses(name: str, schemas: list[Any]) -> str:
    """What of an operator is refused, beyond what the standard leaves open."""
    if where(name) == "refused":
        return "all of it"
    held = HELD.get(name)
    if held is None or name in OPERATORS:
        return ""
    newest = schemas[-1]
    versions = [str(each.since_version) for each in schemas if each.since_version not in held.versions]
    attributes = sorted(set(newest.attributes) - set(held.attributes.split()))
    inputs = [each.name for each in newest.inputs if each.option == OPTIONAL]
    odd = [*attributes, *(each for each in inputs if each not in held.optional.split())]
    said = [f"version {', '.join(versions)}"] if versions else []
    return "; ".join([*said, *([", ".join(f"`{each}`" for each in odd)] if odd else [])])


def table() -> str:
    """A row for each operator."""
    rows = [
        f"| {name} | {', '.join(str(each.since_version) for each in schemas)} | {types(schemas)} | {where(name)} "
        f"| {refuses(name, schemas)} |"
        for name, schemas in standard().items()
    ]
    return "\n".join(["| operator | versions | types | where | refused |", "|---|---|---|---|---|", *rows])


def counts() -> str:
    """How many there are of each kind."""
    found = [where(name) for name in standard()]
    words = ("engine, NumPy", "NumPy", "reference", "refused")
    return "; ".join(f"{found.count(word)} {word}" for word in words)


FILLERS = {"table": table, "counts": counts}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for each page."""
    return re.sub(r"<!-- operators: ([a-z]+) -->", lambda found: FILLERS[found[1]](), markdown)
