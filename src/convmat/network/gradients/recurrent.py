"""Recurrent networks, whose steps are gone back one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...errors import NetworkError
from ..graph import Node
from ..ops.cells import USUAL
from ..ops.recurrent import INPUTS
from .rules import Gradients, Tape, rule


@rule("RNN", "GRU", "LSTM")
def recurrent(node: Node, dy: Sequence[str], tape: Tape) -> Gradients:
    """Gradients of all inputs at once; with the functions that a node has where it names none."""
    named = tuple(name.lower() for name in node.get("activations") or ())
    usual = tuple(name.lower() for name in USUAL[node.op])
    odd = [key for key in ("clip", "input_forget") if node.get(key)]
    odd += ["activations"] * (named not in ((), usual, usual * 2))
    if odd:
        raise NetworkError(
            f"train: {node.label} cannot be differentiated\n  its {odd[0]} = {node.get(odd[0])}\n"
            f"  {', '.join(USUAL[node.op])}, without clip and input_forget, have a rule"
        )
    given = (*node.inputs, *("",) * (len(INPUTS) - len(node.inputs)))
    ends = (*dy, "", "")[:3]
    wanted = [tape.wants(node, at) and INPUTS[at] != "sequence_lens" for at in range(len(given))]
    near = [f"d.{name}" if is_wanted else "" for name, is_wanted in zip(given, wanted, strict=True)]
    y = node.outputs[0] or _outputs_again(node, tape)
    made = tape.ops("RecurrentGrad", *given, y, *ends, outputs=near, own=True, of=node)
    return {at: name for at, name in enumerate(made) if name}


def _outputs_again(node: Node, tape: Tape) -> str:
    """Y of a node that gives its last state alone."""
    y = tape.name(f"{node.outputs[1] if len(node.outputs) > 1 else node.name}.all")
    tape.nodes.append(replace(node, outputs=(y,)))
    return y
