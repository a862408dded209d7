"""A network as a table: its nodes, their products, who computes them; and the memory that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...lazy_dataclass import dataclass
from ...planner.columns import align_columns
from ...planner.units import format_bytes, format_seconds
from ..graph import Spec
from ..ops.half import packed_sizes
from ..ops.planned import Planned
from ..ops.rolled import Rolled, RolledToTheEnd
from ..preparing.program import Program
from .cells import format_extents, shorten_name
from .layers import SLOW, LayerReport, find_deep, list_layers
from .shares import engine_shares

HEAD = ("node", "operator", "output", "way", "engine", "m x n x k", "GFLOP", "parameters", "predicted")
WORDS = 5


@dataclass(frozen=True)
class Summary:
    """What a network consists of for inputs of given shapes. Print it; `as_dict()` is its JSON.

    `fields`: how far each output looks into each input, as `Network.receptive_field` says.
    """

    name: str
    inputs: Mapping[str, Spec | None]
    outputs: Mapping[str, Spec | None]
    layers: tuple[LayerReport, ...]
    threads: int
    fields: tuple[Any, ...] = ()

    @property
    def flops(self) -> int:
        """FLOPs of all products."""
        return sum(each.flops for each in self.layers)

    @property
    def parameters(self) -> int:
        """Numbers that were learnt."""
        return sum(each.parameters for each in self.layers)

    @property
    def seconds(self) -> float:
        """Predicted for all products together; what is no product is not in it."""
        return sum(each.seconds or 0.0 for each in self.layers)

    @property
    def shares(self) -> Mapping[str, float]:
        """The share of the predicted time by engine (jit, blas, numpy, reference), the largest first: see `shares`."""
        return engine_shares(self.layers, self.threads)

    @property
    def slow(self) -> tuple[LayerReport, ...]:
        """The nodes that the ONNX standard's reference computes."""
        return tuple(each for each in self.layers if each.engine == SLOW)

    def as_dict(self) -> dict[str, Any]:
        """The table, for JSON; times in seconds."""
        return {
            "name": self.name,
            "inputs": {name: _to_json(spec) for name, spec in self.inputs.items()},
            "outputs": {name: _to_json(spec) for name, spec in self.outputs.items()},
            "threads": self.threads,
            "flops": self.flops,
            "parameters": self.parameters,
            "predicted_seconds": self.seconds,
            "shares": dict(self.shares),
            "reference": [each.name for each in self.slow],
            "receptive_field": [asdict(each) for each in self.fields],
            "layers": [each.as_dict() for each in self.layers],
        }

    def __str__(self) -> str:
        rows = [
            (
                shorten_name(each.name),
                each.op,
                ", ".join("?" if shape is None else format_extents(shape) for _, shape in each.outputs[:2]),
                each.way,
                each.engine,
                each.product_text,
                f"{each.flops / 1e9:.4g}" if each.flops else "",
                f"{each.parameters:,}" if each.parameters else "",
                "" if each.seconds is None else format_seconds(each.seconds),
            )
            for each in self.layers
        ]
        lines = [
            f"{self.name}: {_list_texts(self.inputs)} -> {_list_texts(self.outputs)}",
            "",
            *align_columns(HEAD, rows, words=WORDS),
            "",
            f"{len(self.layers)} nodes, {self.flops / 1e9:.4g} GFLOP, {self.parameters:,} parameters; products "
            f"predicted to take {format_seconds(self.seconds)} on {count_threads(self.threads)}",
        ]
        if self.shares:
            parts = [f"{engine} {_percent(share)}" for engine, share in self.shares.items()]
            lines.append(f"of the whole network's predicted time: {', '.join(parts)}")
        counts = [each.steps for each in self.layers if each.steps is not None]
        if counts:
            most, apart = max(counts), sum(map(bool, counts))
            far = "one step apart" if most < 2 else f"apart, by up to {most} steps"
            lines.append(
                f"8-bit numbers: {len(counts) - apart} nodes make those of the graph's own, {apart} may be {far}"
            )
        lines += [f"receptive field: {each}" for each in self.fields if each.axes]
        if self.slow:
            slow = [f"{each.op} {each.name!r}" for each in self.slow]
            lines.append(f"by the reference of the ONNX standard, slowly: {', '.join(slow)}")
        return "\n".join(lines)


def summarise(program: Program, count: int, fields: tuple[Any, ...] = ()) -> Summary:
    """Summary of a prepared network, for a number of threads; `fields` are its receptive fields."""
    graph, known = program.graph, _specs(program)
    return Summary(
        name=graph.name,
        inputs={each.name: program.specs.get(each.name) for each in graph.inputs},
        outputs={name: known.get(name) for name in program.outputs},
        layers=tuple(list_layers(program)),
        threads=count,
        fields=fields,
    )


@dataclass(frozen=True)
class Memory:
    """Bytes of a network in a steady state.

    `weights` as they are packed, and `constants` as the file has them; `arena`, which all values between nodes share,
    `alive` of which are needed at the busiest node; `outputs` of a call; `scratch` of the node that needs most.
    `unrolled` is what explicit im2col would store for all convolutions, `largest` for the largest of them.
    """

    weights: int
    constants: int
    arena: int
    alive: int
    outputs: int
    scratch: int
    unrolled: int
    largest: int

    @property
    def peak(self) -> int:
        """Weights, arena, outputs and scratch: what a call needs, beyond its inputs."""
        return self.weights + self.arena + self.outputs + self.scratch

    def as_dict(self) -> dict[str, int]:
        """The figures, for JSON; bytes."""
        return {**self.__dict__, "peak": self.peak}

    def __str__(self) -> str:
        rows = [
            ("weights, packed", self.weights),
            ("arena of values between nodes", self.arena),
            ("outputs of a call", self.outputs),
            ("scratch of a node", self.scratch),
            ("peak of a call: their sum", self.peak),
            ("weights as the file has them", self.constants),
            ("unrolled inputs, were they stored", self.unrolled),
            ("the largest of those", self.largest),
        ]
        return "\n".join(
            align_columns(("memory", "bytes"), [(name, format_bytes(n)) for name, n in rows], words=1)
        )


def summarise_memory(program: Program) -> Memory:
    """Memory of a prepared network; of what waits for shapes, that which was prepared last."""
    stages, known = program.stages(), _specs(program)
    kinds = Planned | Rolled | RolledToTheEnd
    steps = [task.run for each in stages for task in each.tasks if isinstance(task.run, kinds)]
    strips = [each.scratch for stage in stages for each in find_deep(stage).values()]
    unrolled = [each.unrolled for each in list_layers(program)]
    made = [known[name] for name in dict.fromkeys(program.outputs) if name in known]
    kept = {id(array): array.nbytes for each in stages for array in each.graph.constants.values()}
    return Memory(
        weights=sum(packed_sizes(task.run for each in stages for task in each.tasks).values()),
        constants=sum(kept.values()),
        arena=sum(each.memory.size for each in stages),
        alive=max(each.memory.least for each in stages),
        outputs=sum(spec.bytes for spec in made),
        scratch=max([*(max(step.plan.workspace, step.scratch) for step in steps), *strips], default=0),
        unrolled=sum(unrolled),
        largest=max(unrolled, default=0),
    )


def _specs(program: Program) -> dict[str, Spec]:
    """What is known of values, the first stage's word before those of later ones."""
    return {name: spec for stage in reversed(program.stages()) for name, spec in stage.specs.items()}


def _percent(share: float) -> str:
    """A share in words.

    >>> _percent(0.973), _percent(0.0004)
    ('97 %', 'below 1 %')
    """
    return f"{100 * share:.0f} %" if share >= 0.01 else "below 1 %"


def count_threads(count: int) -> str:
    """1 thread, 2 threads."""
    return f"{count} thread{'s' * (count > 1)}"


def _list_texts(specs: Mapping[str, Spec | None]) -> str:
    shown = [f"{name} {format_extents(spec.shape) if spec else '?'}" for name, spec in specs.items()]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")


def _to_json(spec: Spec | None) -> dict[str, Any] | None:
    return None if spec is None else {"dtype": str(spec.dtype), "shape": list(spec.shape)}
