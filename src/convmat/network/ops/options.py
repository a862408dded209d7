"""What a network was loaded with, and how a node's product is planned and bound within that."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import field, replace
from typing import Any

import numpy as np

from ...engine import Sweep, SweepPlan, blas_threads, buffers
from ...geometry import Geometry
from ...lazy_dataclass import dataclass
from ...planner import (
    Bound,
    Candidate,
    Plan,
    PlanOptions,
    Record,
    Tuning,
    dtype_name,
    request_block,
    request_resized,
    request_tuned,
)
from ...problem import Problem
from ...processes import Lock
from ..graph import Array, Node, Shape

Scale = tuple[bytes, Callable[[Array], Array]]


PRECISIONS = ("float32", "float16", "bfloat16")
"""float32: networks of half precision run in float32 inside; float16: every value has the type that the file says;
bfloat16: as float32, but what products multiply may be rounded to bfloat16."""


ROUNDED_RTOL = 1e-2
"""The tolerance of products whose operands may be rounded to bfloat16."""


class PackedConstants:
    """What constants are bound to, as long as somebody holds it: by where they lie, and how they are packed.

    Few packings of a constant are told apart one by one: hashing recipes would take longer than all of their nodes.
    """

    def __init__(self) -> None:
        self._known: dict[Any, list[tuple[Any, weakref.ref[Bound], weakref.ref[Array]]]] = {}
        self._locks: dict[Any, Lock] = {}

    @property
    def empty(self) -> bool:
        """Whether nothing was bound yet."""
        return not self._known

    def alone(self, lies: Any) -> Lock:
        """What is held from looking a constant up to adding it: nodes that share one may be prepared at a time."""
        return self._locks.setdefault(lies, Lock())

    def find(self, lies: Any, packing: Any) -> Bound | None:
        """What was bound there; None where it is gone, or the constant: another array may lie there."""
        for known, bound, owner in self._known.get(lies, ()):
            if owner() is not None and known == packing and (found := bound()) is not None:
                return found
        return None

    def add(self, lies: Any, packing: Any, bound: Bound, owner: Array) -> None:
        """Remember what was bound, and whose memory the constant is."""
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        for place, several in list(self._known.items()):
            if all(kept() is None for _, kept, _ in several):
                self._known.pop(place, None)
                self._locks.pop(place, None)
        there = [each for each in self._known.get(lies, ()) if each[1]() is not None]
        self._known[lies] = [*there, (packing, weakref.ref(bound), weakref.ref(owner))]


@dataclass(frozen=True)
class Decided:
    """How a node's product runs in the whole network that this one computes a part of: its problem, and the way."""

    problem: Problem
    way: Candidate

    def __repr__(self) -> str:
        return f"<Decided {self.way.lowering}>"


@dataclass(frozen=True)
class Options:
    """What a network was loaded with for its convolutions: keywords of `plan`."""

    exact: bool = False
    rtol: float | None = None
    workspace_limit: int | None = None
    weight_limit: int | None = None
    deterministic: bool = False
    tune: str = "none"
    precision: str = "float32"
    """In which type values of half precision are between products, and what products round: one of PRECISIONS."""
    record: Record | None = field(default=None, compare=False, repr=False)
    """What plans and kernels are written down in, and which choices are followed, while a network is prepared."""
    packed: PackedConstants | None = field(default=None, compare=False, repr=False)
    """What constants were bound to: for nodes, and for other shapes of the network's inputs, that pack them alike."""
    met: dict[str, tuple[Node, Any, Plan]] | None = field(default=None, compare=False, repr=False)
    """Plans of nodes for the shapes that they met first, by what they write, with what else they depend on."""
    scaled: buffers.Slots | None = field(default=None, compare=False, repr=False)
    """Where weights are scaled before they are packed, one array after the other."""
    whole: Decided | None = None
    """The decision whose block the product of the prepared node is, and as which it runs."""
    plan: Plan | None = field(default=None, compare=False, repr=False)
    """The plan of the node that is prepared, where it was made before."""
    swept: bool = False
    """Whether kernels pass over arrays however small they are, as over those of the whole."""

    def for_node(self, node: Node) -> Options:
        """Options of a node, which may compute a part of what another one does."""
        whole = node.get("whole")
        return self if whole is self.whole else replace(self, whole=whole)


def tolerance(options: Options, dtype: np.dtype[Any]) -> float | None:
    """What products of a type may be off by; None for what they may by default."""
    rounds = options.precision == "bfloat16" and dtype == np.float32
    return ROUNDED_RTOL if rounds and options.rtol is None else options.rtol


def plan_node(
    options: Options, x: Shape, w: Shape, dtype: np.dtype[Any], asked: PlanOptions, *, constant: bool = True
) -> Plan:
    """The plan of a node's product within the network's options; `constant`: its weights are packed once.

    Raises ConvmatError.
    """
    whole = asked._replace(
        exact=options.exact,
        rtol=tolerance(options, dtype),
        workspace_limit=options.workspace_limit,
        weight_limit=options.weight_limit,
        deterministic=options.deterministic,
        reuse_weights=constant,
    )
    if options.whole is not None:
        return request_block("plan", x, w, dtype_name(dtype), whole, options.whole.problem, options.whole.way)
    return request_tuned("plan", x, w, dtype_name(dtype), whole, Tuning(options.tune), options.record)


def plan_again(
    options: Options,
    node: Node,
    given: tuple[Any, ...],
    resize: Callable[[Plan], Geometry | None],
    make: Callable[[], Plan],
) -> Plan:
    """The plan of a node: the one that it met first for another geometry, or what `make` gives.

    `given`: what else plans depend on; `resize`: from the first plan to the geometry now, None where it has to be made.
    """
    met: Any = {} if options.met is None or options.tune != "none" or options.whole else options.met
    known = met.get(node.outputs[0])
    if known is not None and known[0] is node and known[1] == (options, *given):
        geometry = resize(known[2])
        resized = None if geometry is None else request_resized(known[2], geometry, options.record)
        if resized is not None:
            return resized
    made = make()
    met[node.outputs[0]] = node, (options, *given), made
    return made


def bind_node(
    options: Options, plan: Plan, w: Array, bias: Array | None, scale: Scale | None = None
) -> Bound:
    """The plan of a node bound to constant weights, which plans that pack them alike pack once.

    w: of the plan's shape, but for extents of 1 at its end. `scale`: what they are multiplied by, as bytes that tell it
    from others, and the function that does it.
    """
    packing = plan.packing
    alike = (plan.problem, plan.chosen.way) if packing is None else packing
    lies = (
        w.__array_interface__["data"][0],
        w.shape,
        w.strides,
        w.dtype,
        None if scale is None else scale[0],
    )
    kept = PackedConstants() if options.packed is None else options.packed
    with kept.alone(lies):
        known = kept.find(lies, alike)
        if known is not None:
            return known.with_bias(bias) if packing is None else plan.share(known, bias)
        made = w if scale is None else scale[1](w)
        filters = np.ascontiguousarray(made).reshape(plan.problem.shape("w"))
        # A network's constants are never written to; what is scaled lies in memory that is used again.
        bound = plan.bind(filters, bias, lasting=scale is None and not w.flags.writeable)
        kept.add(lies, alike, bound, w)
        return bound


def load_sweep(plan: SweepPlan | str, options: Options) -> Sweep | None:
    """The sweep of a plan, its kernel loaded and written down in the record; None for a sentence why there is none.

    Raises EngineError where the kernel can be neither found nor compiled.
    """
    if isinstance(plan, str):
        return None
    sweep = Sweep(plan)
    sweep.load()
    if options.record is not None:
        options.record.add_program(sweep)
    return sweep


def repeatable(step: Callable[..., None], options: Options) -> Callable[..., None]:
    """A step that multiplies by NumPy's BLAS; in a deterministic network on one thread, for its bits depend on that."""
    if not options.deterministic:
        return step

    def alone(*arrays: Array) -> None:
        with blas_threads.limit(1):
            step(*arrays)

    return alone
