"""A node of another's operators, spelt out in nodes of the standard: what those who spell are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

import numpy as np

from ...lazy_dataclass import dataclass
from ..graph import Array, Node

DOMAIN = "com.microsoft"

OLDEST = 13
"""The least operator set of the standard whose nodes are written: the first with scales for each index of an axis."""


@dataclass
class Spelt:
    """One foreign node being spelt out. `version`: the standard's operator set of the nodes it becomes."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    version: int
    known: Mapping[str, Array]
    """The constants of its graph."""
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def __call__(
        self,
        op: str,
        *inputs: str,
        out: str = "",
        outputs: tuple[str, ...] = (),
        since: int = 0,
        **attributes: Any,
    ) -> str:
        """A node of the standard, of no older operator set than `since`; the name of its first output."""
        made = outputs or (out or f"{self.outputs[0] or self.name}/{DOMAIN}/{len(self.nodes)}",)
        label = self.name if made[0] and made[0] in self.outputs else made[0]
        self.nodes.append(Node(op, inputs, made, attributes, label, max(self.version, since)))
        return made[0]

    def output(self, at: int) -> str:
        """The name of an output, "" where nobody wants it."""
        return self.outputs[at] if at < len(self.outputs) else ""

    def keep_like(self, value: float, *inputs: int) -> str:
        """A constant of the type of one of these inputs: the first that is a constant tells it, else it is computed."""
        known = [self.known[name].dtype for at in inputs if (name := self.input(at)) in self.known]
        if known:
            return self.keep(np.asarray(value, known[0]))
        return self("CastLike", self.keep(np.float32(value)), self.input(inputs[0]), since=15)

    def input(self, at: int) -> str:
        """The name of an input, "" where it is omitted."""
        return self.inputs[at] if at < len(self.inputs) else ""

    def keep(self, value: Any) -> str:
        """A constant."""
        name = f"{self.outputs[0] or self.name}/{DOMAIN}/constant{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def dequantise(self, at: int, scale: int, zero: int, **attributes: Any) -> str:
        """An input by its scale and zero point, the numbers of inputs."""
        zeros = (self.input(zero),) if self.input(zero) else ()
        return self("DequantizeLinear", self.input(at), self.input(scale), *zeros, **attributes)

    def quantise(self, value: str, scale: int, zero: int, like: int = 0) -> None:
        """The output; where its zero point is omitted, it is 0 of the type that input `like` has."""
        name = self.input(zero) or self._zero(like)
        self("QuantizeLinear", value, self.input(scale), name, out=self.outputs[0])

    def _zero(self, like: int) -> str:
        """A 0 of an input's type: a constant where a constant of the node tells the type, computed otherwise."""
        types = {self.known[each].dtype for each in self.inputs if each in self.known}
        small = types & {np.dtype(np.int8), np.dtype(np.uint8)}
        if len(small) == 1:
            return self.keep(np.zeros((), small.pop()))
        flat = self("Reshape", self.input(like), self.keep(np.array([-1])))
        nothing = self("Slice", flat, self.keep(np.array([0])), self.keep(np.array([0])))
        return self("Pad", nothing, self.keep(np.array([0, 1])))


@dataclass(frozen=True)
class Foreign:
    """One operator: how many inputs and outputs it may have, its attributes with their types, and what it becomes.

    `spell` gives a sentence where a node cannot be spelt out.
    """

    spell: Callable[[Spelt], str | None]
    inputs: tuple[int, int]
    attributes: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[int, int] = (1, 1)


__all__ = ["DOMAIN", "OLDEST", "Foreign", "Spelt"]
