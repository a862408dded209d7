"""What moves elements, or gives them another shape: gradients go back the same way."""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Node
from .rules import Gradients, Tape, rule


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """The shape that x had."""
    x = node.inputs[0]
    return {0: tape.op("Reshape", dy[0], tape.shape(x), near=f"d.{x}", allowzero=1)}


@rule("Identity")
def identity(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy itself."""
    return {0: dy[0]}


@rule("Cast", "CastLike")
def cast(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy in the element type of x."""
    return {0: tape.op("CastLike", dy[0], node.inputs[0], near=f"d.{node.inputs[0]}")}


@rule("Transpose")
def transpose(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """The axes back in their order."""
    perm, near = node.get("perm"), f"d.{node.inputs[0]}"
    if perm is None:
        return {0: tape.op("Transpose", dy[0], near=near)}
    return {0: tape.op("Transpose", dy[0], near=near, perm=sorted(range(len(perm)), key=lambda a: perm[a]))}


@rule("Concat")
def concat(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """Each its part."""
    axis = node.get("axis", 1)
    place = tape.whole(axis)
    sizes = [tape.op("Gather", tape.shape(name), place, axis=0) for name in node.inputs]
    cut = tape.op("Concat", *sizes, axis=0)
    near = tuple(f"d.{name}" for name in node.inputs)
    parts = tape.ops("Split", dy[0], cut, outputs=near, axis=axis)
    return {at: part for at, part in enumerate(parts) if tape.wants(node, at)}


@rule("Split")
def split(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """The parts side by side, zeros for those that nobody reads."""
    pairs = zip(dy, node.outputs, strict=True)
    parts = [part or tape.op("Zeros", name, own=True) for part, name in pairs]
    return {0: tape.op("Concat", *parts, near=f"d.{node.inputs[0]}", axis=node.get("axis", 0))}


@rule("Slice", "Pad", "Tile", "Resize", "Upsample")
def place(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """By an operator that asks the node where elements went."""
    return {0: back(node, dy[0], tape, {"Upsample": "Resize"}.get(node.op, node.op) + "Grad")}


def back(node: Node, dy: str, tape: Tape, op: str, **attributes: object) -> str:
    """A gradient's operator that reads dy, the shape of x and what else the node reads."""
    x, *rest = node.inputs
    return tape.op(op, dy, tape.shape(x), *rest, near=f"d.{x}", own=True, of=node, **attributes)


@rule("Gather")
def gather(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """Each row added where it is from."""
    x, indices = node.inputs
    attributes = {"axis": node.get("axis", 0)}
    return {0: tape.op("GatherGrad", dy[0], tape.shape(x), indices, near=f"d.{x}", own=True, **attributes)}


@rule("GatherElements", "GatherND")
def gather_places(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """Each element, or slice, added where it is from."""
    return {0: back(node, dy[0], tape, "PlacesGrad")}


@rule("TopK")
def largest(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """Each element back to where it was; where that is takes no gradient."""
    x, axis = node.inputs[0], node.get("axis", -1)
    taken = Node("GatherElements", (x, node.outputs[1]), node.outputs[:1], {"axis": axis}, node.name)
    return {0: back(taken, dy[0], tape, "PlacesGrad")} if dy[0] else {}


@rule("Expand")
def expand(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """The sum over the copies."""
    return {0: tape.sum_to(dy[0], node.inputs[0])}


@rule("DepthToSpace", "SpaceToDepth")
def pixels(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """The other of the two."""
    other = {"DepthToSpace": "SpaceToDepth", "SpaceToDepth": "DepthToSpace"}[node.op]
    return {0: tape.op(other, dy[0], near=f"d.{node.inputs[0]}", **node.attributes)}


@rule("Where")
def where(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """dy for the one that was chosen, 0 for the other."""
    condition, a, b = node.inputs
    found = {}
    if tape.wants(node, 1):
        found[1] = tape.sum_to(tape.op("Where", condition, dy[0], tape.op("Zeros", dy[0], own=True)), a)
    if tape.wants(node, 2):
        found[2] = tape.sum_to(tape.op("Where", condition, tape.op("Zeros", dy[0], own=True), dy[0]), b)
    return found
