"""A network's values along the axis that grows: which axis that is, how fast it grows, what each node waits for.

    rate(v) = elements of v for each element of the input       period = least common multiple of their denominators

After a period every value has grown by whole elements, so what a block does repeats. The whole's extent is not known:
rules are asked with one that is never reached, and with the true one when the end has come.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

import numpy as np

from ...errors import NetworkError
from ...network.graph import Graph, Node, Spec
from ...network.preparing.infer import infer_specs
from ..tiles.parts import Needed, Part, WholeImage
from ..tiles.rules import needed_parts
from .recurrent import is_recurrent, recurrent_parts, state_shape, states_of, without_states

NEVER = 2**38 * 3**2 * 5 * 7
"""An extent that no signal reaches, a multiple of what networks cut their inputs into; float64 counts so far."""

DENOMINATOR = 10**4
"""The longest period of a node: NEVER is so large that a ratio of extents has one fraction so simple near it."""

UNLIMITED = 2**200


class Timeline:
    """The graph of one streamed input along one of its axes. `specs` are those of an input without an end."""

    def __init__(self, graph: Graph, specs: Mapping[str, Spec], axis: int) -> None:
        self.source, self.given, self.axis = graph, dict(specs), axis
        self.name = graph.inputs[0].name
        self.graph, self.specs = self._of(NEVER)
        again, self._twice = self._of(2 * NEVER)
        self.axes = {self.name: axis}
        self.rates = {self.name: Fraction(1)}
        for node in self.graph.nodes:
            self._require(node, again, self._twice)
        self.states = {
            name: node for node in self.graph.nodes if is_recurrent(node) for name in states_of(node)
        }
        self.period = math.lcm(*(rate.denominator for rate in self.rates.values()))
        self.margin = sum(math.ceil(n) for n in map(self._ahead, self.graph.nodes))
        self._back = {node.outputs[0]: self._backwards(node) for node in self.graph.nodes}
        for node in self.graph.nodes:
            middle = int(self.rates[node.outputs[0]] * (NEVER // 2))
            self.needs(node, self.specs, middle, middle + 1)

    def of(self, extent: int) -> dict[str, Spec]:
        """The Specs of all values of a signal that has ended. Raises NetworkError."""
        return self._of(extent)[1]

    def _of(self, extent: int) -> tuple[Graph, dict[str, Spec]]:
        given = self.given[self.name]
        shape = (*given.shape[: self.axis], extent, *given.shape[self.axis + 1 :])
        return infer_specs(self.source, {self.name: Spec(shape, given.dtype)}, UNLIMITED)

    # -- what can be streamed ------------------------------------------------------------------------------------------

    def _require(self, node: Node, again: Graph, twice: Mapping[str, Spec]) -> None:
        """Find the axis and the rate of what a node makes. Raises NetworkError."""
        names = [*filter(None, node.inputs), *filter(None, node.outputs)]
        if node.captured or any(name not in self.specs or name not in twice for name in names):
            raise refusal(node, "makes what is known only when it runs")
        if is_recurrent(node) and (not node.outputs[0] or any(node.outputs[1:])):
            raise refusal(node, "gives the state that it ends in, which the end of the signal decides")
        for name in filter(None, node.inputs):
            if name in self.graph.constants and node.op not in ("Slice", "Resize", "Upsample"):
                other = again.constants.get(name)
                if other is None or not np.array_equal(self.graph.constants[name], other):
                    raise refusal(node, f"reads {name!r}, which depends on the extent of the whole")
        for name in filter(None, node.outputs):
            shape, longer = self.specs[name].shape, twice[name].shape
            grows = [a for a, (n, m) in enumerate(zip(shape, longer, strict=True)) if n != m]
            if len(grows) == 1:
                self.axes[name] = grows[0]
                self.rates[name] = Fraction(shape[grows[0]], NEVER).limit_denominator(DENOMINATOR)
        if node.op != "Split" and any(node.outputs[1:]):
            raise refusal(node, "has several outputs")
        word = node.get("auto_pad") or "NOTSET"
        if word.startswith("SAME") and node.op != "ConvTranspose" and max(node.get("strides") or (1,)) > 1:
            raise refusal(node, f"takes its padding ({word} with a stride) from the extent of the whole")
        if node.op == "ConvTranspose" and node.get("output_shape") is not None:
            raise refusal(node, "has the extent of the whole in its output_shape")
        if node.get("ceil_mode", 0) and node.get("count_include_pad", 0):
            raise refusal(
                node, "counts padding in a last window whose place follows from the extent of the whole"
            )
        if node.outputs[0] not in self.axes:
            self.needs(node, self.specs, 0, 1)  # most say what they look at
            raise refusal(node, "makes what does not grow with its input along one axis")

    def _ahead(self, node: Node) -> Fraction:
        """How many elements of the input further on than what they wait for the outputs of a margin lie."""
        name = node.outputs[0]

        def stop(at: int) -> int:
            return max(
                (b for _, b in self.reads(node, self.needs(node, self.specs, at, at + 1)).values()), default=0
            )

        first = stop(0)
        alike = last_that(lambda at: stop(at) <= first, 0)
        each = max(
            (math.ceil(self.rates[name] / self.rates[x]) for x in node.inputs if x in self.rates), default=1
        )
        return max(alike + 1 - each, 0) / self.rates[name]

    # -- what a node needs ---------------------------------------------------------------------------------------------

    def needs(self, node: Node, specs: Mapping[str, Spec], start: int, stop: int) -> Needed:
        """What a node needs for its outputs from start to stop along the axis. Raises NetworkError."""
        out = specs[node.outputs[0]]
        inputs = [specs[name] if name else None for name in node.inputs]
        try:
            rule = recurrent_parts if is_recurrent(node) else needed_parts
            return rule(node, inputs, out, self.part(node.outputs[0], specs, start, stop))
        except WholeImage as error:
            raise refusal(node, str(error)) from None

    def part(self, name: str, specs: Mapping[str, Spec], start: int, stop: int) -> Part:
        """All of a value's other axes, and along its own from start to stop."""
        axis = self.axes.get(name)
        return tuple((start, stop) if a == axis else (0, n) for a, n in enumerate(specs[name].shape))

    def state(self, name: str) -> Spec:
        """Shape and element type of a recurrent node's state."""
        node = self.states[name]
        out = self.specs[node.outputs[0]]
        return Spec(state_shape(node, out), out.dtype)

    def reads(self, node: Node, need: Needed) -> dict[str, tuple[int, int]]:
        """Ranges that the node reads of each of its inputs that grow."""
        found: dict[str, tuple[int, int]] = {}
        for name, part in zip(node.inputs, need.parts, strict=False):
            if part is not None and name in self.axes:
                start, stop = part[self.axes[name]]
                low, high = found.get(name, (start, stop))
                found[name] = min(low, start), max(high, stop)
        return found

    def behind(self, node: Node, start: int) -> dict[str, int]:
        """Places from which on a node's outputs from `start` on read its inputs, whenever the end comes."""
        reads = self.reads(node, self.needs(node, self.specs, start, start + 1))
        return {name: max(low - self._back[node.outputs[0]][name], 0) for name, (low, _) in reads.items()}

    def _backwards(self, node: Node) -> dict[str, int]:
        """How much further back the last output reads where the end has come: mirrored or repeated elements."""
        last = self.specs[node.outputs[0]].shape[self.axes[node.outputs[0]]] - 1
        ended, open_ = (
            self.reads(node, self.needs(node, s, last, last + 1)) for s in (self.specs, self._twice)
        )
        return {name: max(open_[name][0] - ended[name][0], 0) for name in ended}

    def list_allowances(self, extent: int) -> dict[str, int]:
        """How much of each value there was if the end came now: what may yet be cut off at the end waits."""
        try:
            specs = self.of(extent)
        except NetworkError:  # the network does not run on so little
            return dict.fromkeys(self.axes, 0)
        return {name: specs[name].shape[axis] for name, axis in self.axes.items()}

    def waits(self, output: str, at: int) -> int:
        """How many elements of the input must have come before an element of an output is made."""
        wanted = {output: (at, at + 1)}
        for node in reversed(self.graph.nodes):
            asked = [wanted[name] for name in node.outputs if name in wanted]
            if asked:
                need = self.needs(node, self.specs, min(a for a, _ in asked), max(b for _, b in asked))
                for name, (low, high) in self.reads(node, need).items():
                    start, stop = wanted.get(name, (low, high))
                    wanted[name] = min(low, start), max(high, stop)
        count = wanted[self.name][1] if self.name in wanted else 0
        while any(self.list_allowances(count)[name] < stop for name, (_, stop) in wanted.items()):
            count += 1
        return count


def stateless(graph: Graph) -> Graph:
    """The graph without the states that nodes take from outside and give back: a stream carries them itself."""
    found = [without_states(node, graph) for node in graph.nodes]
    nodes = tuple(node for node, _, _ in found)
    taken, given_back = (
        set().union(*names) for names in ([t for _, t, _ in found], [g for _, _, g in found])
    )
    taken -= {name for node in nodes for name in node.reads}
    return replace(
        graph,
        nodes=nodes,
        inputs=tuple(each for each in graph.inputs if each.name not in taken),
        outputs=tuple(name for name in graph.outputs if name not in given_back),
    )


def last_that(fits: Callable[[int], bool], low: int) -> int:
    """The largest number from `low` on that fits; all below one that fits do."""
    step = 1
    while fits(low + step):
        step *= 2
    low, high = low + step // 2, low + step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def refusal(node: Node, reason: str) -> NetworkError:
    """The sentence for a node that cannot be streamed."""
    return NetworkError(
        f"stream: {node.label} cannot be computed block by block\n  it {reason}\n"
        f"  call the network with the whole signal, or with windows of it"
    )


__all__ = ["NEVER", "Timeline", "last_that", "refusal", "stateless"]
