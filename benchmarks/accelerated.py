"""convmat.torch.accelerate beside PyTorch: eager, and compiled where there is a C++ compiler; inference and training.

    python -m benchmarks.accelerated [MODEL ..] [--kind training] [--threads 2] [--rounds 5] [--json FILE]

    ratio    PyTorch's median time over that of the accelerated model, calls taking turns; above 1 convmat is quicker

A step of training is forward and backward, without the optimiser. Before anything is timed, answers and
gradients are compared with float64: they are not many times further off than PyTorch's own.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.doors import geometric

KINDS = ("inference", "training")

TIMES, SMALL = 8, 1e-5
"""How many times further from float64 than eager PyTorch's an answer may be, and how far in any case."""


@dataclass(frozen=True)
class Row:
    """Median seconds by peer; how many of the layers were swapped."""

    model: str
    kind: str
    shape: tuple[int, ...]
    seconds: dict[str, float]
    swapped: int
    layers: int

    def ratio(self, peer: str) -> float:
        """How many times the peer's time is that of the accelerated model."""
        return self.seconds[peer] / self.seconds["convmat"]


def call_of(model: Any, x: Any, kind: str) -> Callable[[], list[Any]]:
    """One call of a model: its answer alone, or with the gradients of its mean square in the parameters."""
    import torch

    parameters = list(model.parameters())

    def infer() -> list[Any]:
        with torch.no_grad():
            return [model(x)]

    def train() -> list[Any]:
        y = model(x)
        return [y.detach(), *torch.autograd.grad(y.square().mean(), parameters)]

    return infer if kind == "inference" else train


def peers_of(name: str, kind: str, compiled: bool) -> tuple[dict[str, Callable[[], list[Any]]], Any]:
    """What computes the same, by its name, each with a copy of the model; and the report of `accelerate`."""
    import torch

    from benchmarks import torch_models
    from convmat.torch import accelerate

    x = torch.randn(getattr(torch_models.INPUTS[name], kind), generator=torch.Generator().manual_seed(1))
    model = torch_models.make(name).train(kind == "training")
    other, third = copy.deepcopy(model), copy.deepcopy(model)
    wide = copy.deepcopy(model).double()
    report = accelerate(other, x)
    made = {
        "float64": call_of(wide, x.double(), kind),
        "convmat": call_of(other, x, kind),
        "eager": call_of(model, x, kind),
    }
    if compiled:
        made["compiled"] = call_of(torch.compile(third, dynamic=False), x, kind)
    return made, report


def distances(found: Sequence[Any], wanted: Sequence[Any]) -> tuple[float, float]:
    """How far an answer, and the gradients together, are from others, relative to these, norm-wise.

    Single gradients are next to nothing, of a bias before a normalisation for instance.
    """

    def off(some: Sequence[Any], others: Sequence[Any]) -> float:
        size = sum(float(b.double().square().sum()) for b in others)
        apart = sum(
            float((a.double() - b.double()).square().sum()) for a, b in zip(some, others, strict=True)
        )
        return math.sqrt(apart / max(size, 1e-300))

    return off(found[:1], wanted[:1]), off(found[1:], wanted[1:])


def require_right(who: str, found: tuple[float, float], eager: tuple[float, float]) -> None:
    """ValueError where distances from float64 are many times those of eager PyTorch, which are of rounding.

    Batch normalisation makes gradients ill-conditioned: those of eager PyTorch may be 1e-3 off.
    """
    for what, off, allowed in zip(("answer", "gradient"), found, eager, strict=True):
        if not off <= TIMES * allowed + SMALL:
            raise ValueError(f"{who}: the {what} is off by {off:.1e}, that of eager PyTorch by {allowed:.1e}")


def measure(name: str, kind: str, rounds: int, compiled: bool) -> Row:
    """The row of a model; ValueError where answers differ."""
    from benchmarks import torch_models

    peers, report = peers_of(name, kind, compiled)
    truth = peers.pop("float64")()
    off = {who: distances(call(), truth) for who, call in peers.items()}
    for who, each in off.items():
        require_right(f"{name}, {kind}, {who}", each, off["eager"])
    samples: dict[str, list[float]] = {who: [] for who in peers}
    for _ in range(rounds):
        for who, call in peers.items():
            start = time.perf_counter()
            call()
            samples[who].append(time.perf_counter() - start)
    seconds = {who: statistics.median(each) for who, each in samples.items()}
    shape = getattr(torch_models.INPUTS[name], kind)
    return Row(name, kind, shape, seconds, sum(each.swapped for each in report.layers), len(report.layers))


def summary(rows: Sequence[Row]) -> list[str]:
    """Geometric means of the ratios by kind, and the least ratio.

    >>> summary([Row("resnet18", "training", (1,), {"convmat": 1.0, "eager": 4.0}, 1, 1),
    ...          Row("unet3d", "training", (1,), {"convmat": 1.0, "eager": 1.0}, 1, 1)])
    ['training: eager over convmat 2.00 of 2, least 1.00: unet3d']
    """
    lines = []
    for kind in KINDS:
        for peer in ("eager", "compiled"):
            there = [row for row in rows if row.kind == kind and peer in row.seconds]
            if there:
                least = min(there, key=lambda row: row.ratio(peer))
                mean = geometric([row.ratio(peer) for row in there])
                lines.append(
                    f"{kind}: {peer} over convmat {mean:.2f} of {len(there)}, "
                    f"least {least.ratio(peer):.2f}: {least.model}"
                )
    return lines


def run(
    names: Sequence[str], kinds: Sequence[str], threads: int, rounds: int, say: Callable[[str], None]
) -> list[Row]:
    """Measure all models given, of each kind."""
    import torch

    torch.set_num_threads(threads)
    compiled = shutil.which("c++") is not None
    if not compiled:
        say("no C++ compiler, which torch.compile needs: eager alone")
    rows = []
    for kind in kinds:
        for name in names:
            row = measure(name, kind, rounds, compiled)
            rows.append(row)
            ratios = "  ".join(f"{who} {row.ratio(who):5.2f}" for who in row.seconds if who != "convmat")
            times = "  ".join(f"{who} {seconds * 1e3:.1f}" for who, seconds in row.seconds.items())
            say(f"{kind:9} {name:15} {ratios}   {row.swapped} of {row.layers} layers   {times} ms")
    for line in summary(rows):
        say(line)
    return rows


def main() -> None:
    """Read the command line, measure, write."""
    from benchmarks import torch_models

    parser = argparse.ArgumentParser(description="accelerated models beside PyTorch's own")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(torch_models.MODELS)}")
    parser.add_argument("--kind", action="append", choices=KINDS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if unknown := set(given.models) - set(torch_models.MODELS):
        parser.error(f"no model {', '.join(sorted(unknown))}; there are {', '.join(torch_models.MODELS)}")
    rows = run(
        given.models or list(torch_models.MODELS),
        given.kind or KINDS,
        given.threads,
        given.rounds,
        lambda line: print(line, flush=True),
    )
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    main()
