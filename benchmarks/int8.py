"""Layers and networks of few bits beside other libraries, on some number of threads: `python -m benchmarks int8`.

    bfloat16   layers, of arrays in 16 bits and of float32 that is rounded on the way      `benchmarks.bf16`
    8 bits     layers, uint8 to uint8, channels second and channels last                   `benchmarks.int8_peers`
               networks, quantised by onnxruntime                                          `benchmarks.int8_nets`

Answers are compared first: a layer's with what its definition gives, a network's with onnxruntime's. Libraries take
turns, each in a process of its own on several threads (`benchmarks.turns`). Those that are not installed are left out.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks import facts, worker
from benchmarks.bf16 import KINDS, Bfloat16Layer
from benchmarks.crew import Crew
from benchmarks.int8_nets import NETS, EightBitNet, quantised
from benchmarks.int8_peers import EightBitLayer
from benchmarks.turns import Measured, Subject, TurnsWorker, ask
from convmat.cases import LAYERS, case
from convmat.engine import peaks

FLOATS = "convmat f32"


def run(
    names: Sequence[str], *, bf16: bool = False, layers: bool = False, nets: bool = False, threads: int = 1,
    tell: Callable[[str], object] = print,
) -> list[Measured]:  # fmt: skip
    """Those whose names have one of these parts in them (all by default), and a line of means for each kind.

    Raises EngineError if there are too few cores, a library fails or answers wrongly.
    """
    cores, rates = facts.cores_for(threads), peaks(threads)
    peak = max(rates.dot_ops, rates.tile_ops)
    every: list[Measured] = []
    command = (sys.executable, "-m", "benchmarks.int8")
    with (
        tempfile.TemporaryDirectory(prefix="convmat-bench-") as made,
        Crew(threads, cores, Path(made), command) as crew,
    ):
        for wanted, subjects in (
            (bf16, _halves(names)), (layers, _layers(names)), (nets, _nets(names, Path(made))),
        ):  # fmt: skip
            found = []
            for subject in subjects if wanted else ():
                found.append(_with_share(subject, ask(subject, crew, Path(made)), peak))
                tell(line(found[-1]))
            if found:
                tell(summary(found, peak))
            every += found
    return every


def _halves(names: Sequence[str]) -> Iterator[Subject]:
    """Layers in bfloat16."""
    return (Bfloat16Layer(each.name, kind) for each in LAYERS if _meant(each.name, names) for kind in KINDS)


def _layers(names: Sequence[str]) -> Iterator[Subject]:
    """Layers in 8 bits."""
    layouts = ("NCHW", "NHWC")
    return (EightBitLayer(each.name, way) for each in LAYERS if _meant(each.name, names) for way in layouts)


def _nets(names: Sequence[str], folder: Path) -> Iterator[Subject]:
    """Networks in 8 bits, each quantised when its turn comes."""
    return (quantised(name, folder) for name in NETS if _meant(name, names))


def _meant(name: str, parts: Sequence[str]) -> bool:
    """Whether a name was asked for by one of its parts; every name is where none are given."""
    return not parts or any(each in name for each in parts)


def _with_share(subject: Subject, each: Measured, peak: float) -> Measured:
    """The figures of a layer in 8 bits with the share of the integer peak (operations a second)."""
    if not isinstance(subject, EightBitLayer):
        return each
    return replace(each, share=case(subject.layer).geometry.flops / each.seconds["convmat"] / peak)


def line(each: Measured) -> str:
    """One line of the table."""
    times = "  ".join(f"{peer} {seconds * 1e3:.3f}" for peer, seconds in each.seconds.items())
    share = "" if each.share is None else f"  {each.share:.0%} of the peak"
    return f"{each.name}: {times} ms{share}  {each.ratio:.2f} x  apart {each.apart:.2g}"


def summary(found: Sequence[Measured], peak: float) -> str:
    """Geometric means; `peak`: 8-bit operations a second."""
    ratios = [each.ratio for each in found if np.isfinite(each.ratio)]
    floats = [each.seconds[FLOATS] / each.seconds["convmat"] for each in found if FLOATS in each.seconds]
    shares = [each.share for each in found if each.share is not None]
    said = []
    if shares:
        said.append(f"share of the peak of {peak / 1e9:.0f} GOP/s {_mean(shares):.0%}")
    if ratios:
        said.append(f"against the fastest peer {_mean(ratios):.2f}, least {min(ratios):.2f}")
    if floats:
        said.append(f"against our own float32 {_mean(floats):.2f}, least {min(floats):.2f}")
    return "geometric means: " + "; ".join(said)


def _mean(ratios: Sequence[float]) -> float:
    """The geometric mean."""
    return float(np.exp(np.mean(np.log(ratios))))


__all__ = ["line", "run", "summary"]

if __name__ == "__main__":
    kinds = {each.__name__: each for each in (Bfloat16Layer, EightBitLayer, EightBitNet)}
    worker.main(sys.argv[1:], lambda: TurnsWorker(kinds))
