"""What a prepared network consists of, node by node: shapes, products, parameters, and who computes them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from ...geometry import Geometry
from ...lazy_dataclass import dataclass
from ...planner import Contraction, Prepared
from ..graph import Graph, Node, Shape
from ..ops import operator_of
from ..ops.convolution import geometry_of
from ..ops.depth_first import DepthFirst
from ..ops.einsum import equation_of
from ..ops.fallback import REFERENCE
from ..ops.floated import Floated
from ..ops.half import plan_behind
from ..ops.integer_means import INTEGER_MEAN
from ..ops.integers import ADDITION, AGAIN, FACTOR, INTEGER_GEMM, OF_FLOATS, OFFSET, WITH_WINDOWS, Y_ZERO
from ..ops.planned import Compared, Moved, Multiplied, Swept
from ..ops.resize import takes_means
from ..ops.rolled import Rolled, RolledToTheEnd
from ..ops.tree_walks import Walked
from ..ops.weighing import count_steps_behind
from ..preparing.program import Program
from ..preparing.tasks import NodeTask

INTEGER_PRODUCTS = (*WITH_WINDOWS, INTEGER_GEMM, "MatMulInteger", "QLinearMatMul")
"""Operators whose products are those of their plans."""

SLOW = "reference"
"""The engine of nodes that the ONNX standard's reference computes."""


@dataclass(frozen=True)
class LayerReport:
    """One node: `product` is (m, n, k) of each of `groups` products; `seconds` what its plan predicts, if it has one.

    `way` is the lowering, or how else it runs; `engine` is jit, blas, numpy, reference, or "" where nothing moves.
    """

    name: str
    op: str
    outputs: tuple[tuple[str, Shape | None], ...]
    product: tuple[int, int, int] | None
    groups: int
    flops: int
    parameters: int
    way: str
    engine: str
    seconds: float | None
    unrolled: int = 0
    """Bytes that the whole unrolled input would take, for convolutions."""
    moved: int = 0
    """Bytes of its inputs and outputs, as far as their shapes are known."""
    steps: int | None = None
    """Steps of its scale by which its 8-bit numbers may differ from those of the graph's own nodes, from equal inputs.

    0: by none, to the last bit; None where it makes no 8-bit numbers.
    """

    @property
    def product_text(self) -> str:
        """m x n x k, with the number of groups before it."""
        if self.product is None:
            return ""
        return (f"{self.groups} * " if self.groups > 1 else "") + " x ".join(map(str, self.product))

    def as_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        return {
            "name": self.name,
            "op": self.op,
            "outputs": {name: None if shape is None else list(shape) for name, shape in self.outputs},
            "product": dict(zip("mnk", self.product, strict=True)) if self.product else None,
            "groups": self.groups,
            "flops": self.flops,
            "parameters": self.parameters,
            "way": self.way,
            "engine": self.engine,
            "predicted_seconds": self.seconds,
            "unrolled_bytes": self.unrolled,
            "moved_bytes": self.moved,
            "steps_apart": self.steps,
        }


DEPTH_FIRST = "depth first"
"""What the way of layers ends with that are computed together, a strip of rows at a time."""

LATE = "once shapes are known"
"""The way of nodes that wait for a shape which only a run finds, where there was none yet."""


def find_deep(program: Program) -> dict[int, DepthFirst]:
    """What nodes are computed depth first in, by their identity."""
    tasks, found = program.tasks, dict[int, DepthFirst]()
    for first, (length, run) in program.layout.groups.items():
        if isinstance(run, DepthFirst):
            found |= {id(task.node): run for task in tasks[first : first + length]}
    return found


def nodes_of(program: Program) -> list[tuple[Program | None, Node]]:
    """The nodes in the order in which they run, each with what it is prepared in, None for those that wait."""
    stages = program.stages()
    found: list[tuple[Program | None, Node]] = [
        (stage, node) for stage in stages for node in stage.graph.nodes
    ]
    rest = stages[-1].rest
    return found if rest is None else [*found, *((None, node) for node in rest.graph.nodes)]


def list_layers(program: Program) -> list[LayerReport]:
    """One for each node that is left once shapes are known, in the order in which they run."""
    stages = program.stages()
    steps = {id(task.node): task for stage in stages for task in stage.tasks}
    rest = stages[-1].rest
    counted: set[str] = set()
    made = []
    for stage, node in nodes_of(program):
        if stage is not None:
            found = _layer(stage, node, steps.get(id(node)), counted)
            deep = id(node) in find_deep(stage)
            made.append(replace(found, way=f"{found.way}, {DEPTH_FIRST}") if deep else found)
            continue
        assert rest is not None
        outputs = tuple((name, None) for name in node.outputs if name)
        own, parameters = node.name or next(iter(outputs))[0], _parameters(rest.graph, node, counted)
        made.append(LayerReport(own, node.op, outputs, None, 1, 0, parameters, LATE, "", None))
    return made


def _layer(program: Program, node: Node, task: NodeTask | None, counted: set[str]) -> LayerReport:
    plan = plan_behind(task.run) if task else None
    way, engine = _who(node, task, plan)
    g, groups, product = _product(program, node, plan)
    if task is not None and isinstance(task.run, Multiplied):
        groups, *mnk = task.run.contracted.product
        product = (mnk[0], mnk[1], mnk[2])
    return LayerReport(
        name=node.name or next(filter(None, node.outputs), ""),
        op=node.op,
        outputs=tuple(
            (name, program.specs[name].shape if name in program.specs else None)
            for name in node.outputs
            if name
        ),
        product=product,
        groups=groups,
        flops=g.flops if g else 2 * groups * math.prod(product) if product else 0,
        parameters=_parameters(program.graph, node, counted),
        way=way,
        engine=engine,
        seconds=plan.chosen.cost.seconds if plan and plan.chosen.cost else None,
        unrolled=g.bytes(program.specs[node.inputs[0]].dtype.itemsize)["unrolled"] if g else 0,
        moved=sum(program.specs[n].bytes for n in (*node.inputs, *node.outputs) if n in program.specs),
        steps=_steps_apart(program, node),
    )


def _steps_apart(program: Program, node: Node) -> int | None:
    """See `LayerReport.steps`: sums of integers differ from sums of float32, which round, by a step at most.

    What rounds such numbers again does so as the graph's own nodes do, which may take them further apart.
    """
    known = [program.specs[name] for name in node.outputs if name in program.specs]
    made = next((spec.dtype for spec in known if spec.dtype in (np.uint8, np.int8)), None)
    if made is None:
        return None
    steps = int(bool(node.get(OF_FLOATS)) or node.op == INTEGER_MEAN or takes_means(node))
    if not node.get(AGAIN):
        return steps
    zero, factor, offset, three = (
        program.specs[node.inputs[at]].value if node.inputs[at] else None
        for at in (Y_ZERO, FACTOR, OFFSET, ADDITION)
    )
    pair = None if factor is None or offset is None else (factor, offset)
    return count_steps_behind(steps, made, int(np.asarray(zero).item()), pair, three)


def _who(node: Node, task: NodeTask | None, plan: Prepared | None) -> tuple[str, str]:
    if task is None:
        return "a view", ""
    if isinstance(task.run, Compared | Moved | Multiplied | Swept | Rolled | RolledToTheEnd | Walked):
        return task.run.way, "jit"
    if plan is not None:
        floats = ", in float32" if isinstance(getattr(task, "run", None), Floated) else ""
        again = node.get(AGAIN, ())
        behind = f"; then {', '.join(again)}" if again else ""
        return f"{plan.chosen.name}{floats}{behind}", plan.chosen.engine
    if operator_of(node) is REFERENCE:
        return "ONNX reference", SLOW
    if operator_of(node).bodies is not None:
        return "bodies, prepared", ""
    return "", "numpy"


def _product(
    program: Program, node: Node, plan: Prepared | None
) -> tuple[Geometry | None, int, tuple[int, int, int] | None]:
    """A convolution's geometry, the number of its products and their extents."""
    if plan is not None and node.op in INTEGER_PRODUCTS:
        g = plan.problem.geometry
        rows = node.op not in WITH_WINDOWS  # a product of matrices: its rows are the geometry's pixels
        return (None, 1, (g.n, g.m, g.k)) if rows else (g, g.G, (g.m, g.n, g.k))
    specs = [program.specs.get(name) for name in node.inputs]
    if node.domain or len(specs) < 2 or specs[0] is None or specs[1] is None:
        return None, 1, None
    a, b = specs[0].shape, specs[1].shape
    if node.op in ("Conv", "ConvTranspose"):
        g = plan.problem.geometry if plan else geometry_of(node, a, b)[1]
        return g, g.G, (g.m, g.n, g.k)
    if node.op == "Gemm" and len(a) == len(b) == 2:
        m, k = reversed(a) if node.get("transA", 0) else a
        return None, 1, (m, b[0] if node.get("transB", 0) else b[1], k)
    if node.op == "MatMul" and a and b and _broadcast(a[:-2], b[:-2]):
        m, n, k = a[-2] if len(a) > 1 else 1, b[-1] if len(b) > 1 else 1, a[-1]
        return None, math.prod(np.broadcast_shapes(a[:-2], b[:-2])), (m, n, k)
    if node.op == "Einsum" and len(specs) == 2:
        found = Contraction.of(equation_of(node, specs), a, b)
        return (None, found.product[0], found.product[1:]) if found.refusal is None else (None, 1, None)
    return None, 1, None


def _broadcast(a: Shape, b: Shape) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(reversed(a), reversed(b), strict=False))


def _parameters(graph: Graph, node: Node, counted: set[str]) -> int:
    """Elements of the constants it reads that are numbers to learn, not shapes; each is counted once."""
    own = {name for name in node.reads if name in graph.constants} - counted
    counted |= own
    arrays = [graph.constants[name] for name in own]
    return sum(each.size for each in arrays if each.dtype.kind in "fc" or each.dtype.itemsize == 1)
