"""A run made by hand, whose every figure can be worked out on paper."""

from __future__ import annotations

from benchmarks import peers
from benchmarks.jobs import TRAINING_LAYERS, Job
from benchmarks.results import Entry, Library, Measured, Run
from benchmarks.stats import settle
from convmat.cases import LAYERS
from convmat.planner.sampling import Sample

PEAK = 100e9
"""FLOP/s of one thread of the machine that never was; two threads have twice that."""

NAMES = ("convmat", "convmat per call", "convmat NHWC", "torch eager", "torch channels_last", "torch prepacked",
         "onnxruntime", "litert", "numpy im2col")  # fmt: skip

FORWARD = {"convmat": 1.0, "convmat per call": 1.25, "convmat NHWC": 1.1, "torch eager": 2.0,
           "torch channels_last": 1.5, "torch prepacked": 1.2, "onnxruntime": 1.4, "litert": 1.3,
           "numpy im2col": 4.0}  # fmt: skip
"""Seconds of each peer in units of convmat's."""

GRADIENT = {"convmat": 1.0, "convmat NHWC": 1.0, "torch eager": 2.0, "torch channels_last": 1.2}


def entry(seconds: float, error: float = 1e-7, **rest: object) -> Entry:
    """A peer that took this long each time."""
    samples = (
        Sample(seconds),
        Sample(seconds),
        Sample(seconds * 1.01),
        Sample(seconds * 3),
        Sample(seconds, True),
    )
    return Entry(settle(samples), error, samples=samples, **rest)  # type: ignore[arg-type]  # fields by name


def run(share: float = 0.9, scaling: float = 1.9) -> Run:
    """Every layer, one thread and two: convmat at a share of the peak, the others as the tables above say."""
    library = {peer.name: Library(peer.library, peer.about, peer.direct, "1.0") for peer in peers.ALL}
    made = Run(
        convmat="0.1.0",
        date="2026-01-02T03:04:05+00:00",
        machine={"cpu": "A CPU", "arch": "x86_64", "vector_bits": 512, "l1": 32768, "l2": 1 << 20, "l3": 32 << 20,
                 "cores": 2, "pinned": True, "kernel": "Linux 6", "load": 0.1, "python": "3.11.1", "numpy": "2.4"},
        peers={name: library[name] for name in NAMES},
        seconds=1.0,
        jobs=56,
        peaks={n: [{"fma_flops": n * PEAK, "l1_bandwidth": 2e11, "l2_bandwidth": 9e10, "l3_bandwidth": 7e10,
                    "memory_bandwidth": 2e10}] * 3 for n in (1, 2)},
        startup={"import": [0.1, 0.12, 0.11], "first": [0.9], "again": [0.3]},
    )  # fmt: skip
    for threads in (1, 2):
        speed = share * PEAK * (1 if threads == 1 else scaling)
        for layer in LAYERS:
            one = layer.geometry.flops / speed
            entries = {name: entry(one * FORWARD[name]) for name in NAMES}
            entries["convmat"] = entry(one, 1.5e-7, workspace=4096, predicted=1.2 * one)
            made.measured.append(Measured(Job(layer.name, threads=threads), entries))
        for name in TRAINING_LAYERS:
            for direction in ("input", "weight"):
                job = Job(name, direction, 16, threads)
                one = job.geometry.flops / speed
                made.measured.append(Measured(job, {n: entry(one * r) for n, r in GRADIENT.items()}))
    return made
