"""How good the planner's choices are: random layers, every candidate measured, beside what was chosen without it.

    loss(way)   its seconds / those of the quickest way, medians of the same rounds
    untuned     the loss of what `plan` chooses by prediction
    quick       the loss of what `plan(tune="quick")` chooses, measured on its own before

Layers are drawn from what networks have: sizes, channels and filters from the lists below, at most 2 GFLOP and 3.3
million elements of input or output. float32, NCHW, batch 1, weights bound, `out=` reused. Layer `n` of a seed is
always the same, so that a run may stop and go on.
"""

from __future__ import annotations

import json
import math
import random
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import write
from convmat.geometry import Geometry
from convmat.planner import Candidate, Decision, Prepared
from convmat.planner.choose import admit_candidates
from convmat.planner.columns import align_columns
from convmat.planner.tuning import SECONDS, choose_rivals, race_ways
from convmat.planner.units import format_seconds
from convmat.problem import Problem

SIZES = (7, 8, 10, 13, 14, 16, 17, 19, 20, 26, 28, 32, 35, 38, 40, 48, 52, 56, 64, 76, 80, 96, 112, 128, 147, 160, 192,
         208, 224)  # fmt: skip
CHANNELS = (8, 12, 16, 24, 32, 40, 48, 64, 72, 80, 96, 112, 120, 128, 144, 160, 184, 192, 200, 224, 240, 256, 288, 320,
            384, 448, 480, 512, 576, 640, 672, 728, 768, 832, 960, 1024, 1152, 1280, 1536, 1792, 2048)  # fmt: skip
KINDS = {
    "3x3": 30, "1x1": 24, "depthwise": 12, "3x3 s2": 7, "1x1 s2": 4, "depthwise s2": 4, "5x5": 4, "7x7 s2": 3,
    "7x7": 2, "grouped": 4, "dilated": 3, "1x7": 2, "first": 3,
}  # fmt: skip
"""Kinds of layers and how often each is drawn."""

MOST_FLOPS, MOST_ELEMENTS = 2_000_000_000, 3_300_000
NEAR, NEARER = 1.10, 1.03
"""What counts as near the best: without tuning, and with quick tuning."""


@dataclass(frozen=True)
class Layer:
    """One layer drawn: its kind, shapes and keywords."""

    kind: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def geometry(self) -> Geometry:
        """As a Geometry."""
        return Geometry.of(self.x, self.w, **self.options)

    def problem(self, threads: int) -> Problem:
        """Its forward pass."""
        return Problem.of(self.geometry, threads=threads)


@dataclass(frozen=True)
class Found:
    """A layer's figures: seconds predicted and measured by way, which way was chosen, and which by quick tuning."""

    layer: Layer
    predicted: dict[str, float]
    measured: dict[str, float]
    untuned: str
    quick: str

    @property
    def best(self) -> str:
        """The way measured quickest."""
        return min(self.measured, key=lambda way: self.measured[way])

    def loss(self, way: str) -> float:
        """How many times the quickest way's seconds a way took."""
        return self.measured[way] / self.measured[self.best]


@dataclass(frozen=True)
class Choices:
    """Layers 0, 1, 2 .. of a seed, as far as they are measured, on a CPU with so many threads."""

    seed: int
    threads: int
    cpu: str
    found: tuple[Found, ...] = ()

    @property
    def near(self) -> float:
        """The share of layers whose untuned choice is within 10 % of the best."""
        return _share(each.loss(each.untuned) <= NEAR for each in self.found)

    @property
    def nearer(self) -> float:
        """The share of layers whose quickly tuned choice is within 3 % of the best."""
        return _share(each.loss(each.quick) <= NEARER for each in self.found)

    @property
    def mean(self) -> tuple[float, float]:
        """The geometric means of the losses: untuned, and quickly tuned."""
        losses = [(each.loss(each.untuned), each.loss(each.quick)) for each in self.found]
        untuned, quick = (statistics.geometric_mean(each) for each in zip(*losses, strict=True))
        return untuned, quick

    def as_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Choices:
        """What `as_json` wrote."""
        parts = json.loads(text)
        found = (
            Found(**{**each, "layer": Layer(**{**each["layer"], **_shapes(each["layer"])})})
            for each in parts.pop("found")
        )
        return cls(**parts, found=tuple(found))


def _shapes(layer: dict[str, Any]) -> dict[str, Any]:
    """JSON has no tuples."""
    options = {name: tuple(v) if isinstance(v, list) else v for name, v in layer["options"].items()}
    return {"x": tuple(layer["x"]), "w": tuple(layer["w"]), "options": options}


def _share(held: Iterable[bool]) -> float:
    each = list(held)
    return sum(each) / len(each) if each else float("nan")


def draw(seed: int, number: int) -> Layer:
    """Layer `number` of a seed.

    >>> draw(1, 0) == draw(1, 0)
    True
    """
    rng = random.Random(seed * 1_000_003 + number)
    kinds, weights = zip(*KINDS.items(), strict=True)
    [kind] = rng.choices(kinds, weights)
    while True:
        size, C, O = rng.choice(SIZES), rng.choice(CHANNELS), rng.choice(CHANNELS)
        made = _layer(rng, kind, size, C, O)
        g = made.geometry
        if g.flops <= MOST_FLOPS and max(np.prod(g.x_shape), np.prod(g.y_shape)) <= MOST_ELEMENTS:
            return made


def _layer(rng: random.Random, kind: str, size: int, C: int, O: int) -> Layer:
    words = kind.split()
    stride = {"stride": 2} if words[-1] == "s2" else {}
    x = (1, C, size, size)
    if words[0] == "depthwise":
        F = rng.choice((3, 3, 3, 5, 7))
        return Layer(kind, x, (C, 1, F, F), {"padding": F // 2, "groups": C, **stride})
    if words[0] == "grouped":
        groups = rng.choice([n for n in (2, 4, 8, 16, 32) if C % n == 0])
        return Layer(kind, x, (C, C // groups, 3, 3), {"padding": 1, "groups": groups})
    if words[0] == "dilated":
        d = rng.choice((2, 4))
        return Layer(kind, x, (O, C, 3, 3), {"padding": d, "dilation": d})
    if words[0] == "1x7":
        taps, padding = rng.choice((((1, 7), (0, 3)), ((7, 1), (3, 0))))
        return Layer(kind, x, (O, C, *taps), {"padding": padding})
    if words[0] == "first":
        F = rng.choice((3, 5, 7))
        return Layer(
            kind, (1, 3, size, size), (min(O, 96), 3, F, F), {"padding": F // 2, "stride": rng.choice((1, 2))}
        )
    F = int(words[0][0])
    return Layer(kind, x, (O, C, F, F), {"padding": F // 2, **stride})


def examine(layer: Layer, threads: int, seconds: float) -> Found:
    """Measure a layer: quick tuning first, then all candidates in turns for about so many seconds."""
    problem = layer.problem(threads)
    admitted = admit_candidates(problem, None, None)
    running = choose_rivals(admitted.possible, "full")
    quick = choose_rivals(admitted.possible, "quick")
    tuned = _timed(problem, quick, SECONDS["quick"]) if len(quick) > 1 else {}
    measured = _timed(problem, running, seconds)
    return Found(
        layer=layer,
        predicted={c.way: c.cost.seconds for c in running if c.cost},
        measured=measured,
        untuned=running[0].way,
        quick=min(tuned, key=lambda way: tuned[way]) if tuned else running[0].way,
    )


def _timed(problem: Problem, running: Sequence[Candidate], seconds: float) -> dict[str, float]:
    kept: dict[str, float] = {}
    race_ways(
        [Prepared(Decision(problem, tuple(running), each, forced=True)) for each in running],
        seconds,
        lambda done, steps: None,
        lambda timed: kept.update({way: taken for way, taken in timed.items() if taken is not None}),
    )
    return kept


def run(
    path: Path,
    seed: int,
    threads: int,
    count: int,
    seconds: float,
    keep_to: float = math.inf,
    tell: Callable[[int], object] = lambda done: None,
) -> Choices:
    """Measure layers 0 to `count`, each for about so many seconds, going on where the file at `path` ends.

    The file is written after every layer. Stops after `keep_to` seconds. `tell` hears how many are done.
    """
    from convmat.engine import host

    made = Choices(seed, threads, host().model)
    if path.exists():
        before = Choices.from_json(path.read_text(encoding="utf-8"))
        if (before.seed, before.threads, before.cpu) == (seed, threads, made.cpu):
            made = before
    end = time.monotonic() + keep_to
    while len(made.found) < count and time.monotonic() < end:
        found = examine(draw(seed, len(made.found)), threads, seconds)
        made = replace(made, found=(*made.found, found))
        write(path, made.as_json() + "\n")
        tell(len(made.found))
    return made


def summary(made: Choices) -> str:
    """Shares and means by kind of layer, then the layers that lost most.

    >>> layer = Layer("1x1", (1, 8, 7, 7), (8, 8, 1, 1))
    >>> one = Found(layer, {"a": 1e-3, "b": 2e-3}, {"a": 3e-3, "b": 2e-3}, "a", "b")
    >>> print(summary(Choices(1, 2, "a CPU", (one, one))).splitlines()[0])
    2 layers, 2 threads, a CPU: 0 % of untuned choices within 10 % of the best, 100 % of quickly tuned ones within 3 %
    """
    if not made.found:
        return "nothing was measured"
    near, nearer = f"{100 * made.near:.3g} %", f"{100 * made.nearer:.3g} %"
    lines = [
        f"{len(made.found)} layers, {made.threads} thread{'s' * (made.threads != 1)}, {made.cpu}: {near} of untuned "
        f"choices within {100 * NEAR - 100:.0f} % of the best, {nearer} of quickly tuned ones within "
        f"{100 * NEARER - 100:.0f} %",
        "mean loss: {:.3f} untuned, {:.3f} quickly tuned".format(*made.mean),
        "",
    ]
    rows = []
    for kind in dict.fromkeys(each.layer.kind for each in made.found):
        some = replace(made, found=tuple(each for each in made.found if each.layer.kind == kind))
        untuned, quick = some.mean
        shares = f"{some.near:.0%}", f"{some.nearer:.0%}"
        rows.append((kind, str(len(some.found)), *shares, f"{untuned:.3f}", f"{quick:.3f}"))
    lines += align_columns(("kind", "layers", "near", "nearer", "untuned", "quick"), rows, words=1)
    worst = sorted(made.found, key=lambda each: -each.loss(each.untuned))
    lost = [each for each in worst[:WORST] if each.loss(each.untuned) > NEAR]
    lines += ["", "lost most, untuned"] * bool(lost)
    for each in lost:
        g = each.layer.geometry
        lines.append(
            f"  {each.loss(each.untuned):.2f}  {each.layer.kind}: {g};  {each.untuned} "
            f"{format_seconds(each.measured[each.untuned])}, best {each.best} "
            f"{format_seconds(each.measured[each.best])}"
        )
    return "\n".join(lines)


WORST = 8
"""Layers that the summary names."""
