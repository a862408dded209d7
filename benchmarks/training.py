"""Training steps side by side: convmat and PyTorch, the same network, weights and batches; a process each, in turns.

    python -m benchmarks.training [NETWORK ..] [--threads 2] [--rounds 3] [--eager] [--json FILE]

Before anything is timed the losses of three steps are compared. Times are medians over rounds of a median over steps;
memory is the peak of the process beyond what it had before its network was built.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

NETWORKS: dict[str, tuple[Any, ...]] = {
    "lenet": ((1, 28, 28), 128),
    "resnet20": ((3, 32, 32), 64),
    "resnet18": ((3, 64, 64), 32),
    "mobilenet_v2": ((3, 96, 96), 16),
    "unet": ((1, 128, 128), 4),
}
"""Input without the batch, and the batch."""

PEERS = ("convmat", "torch", "torch channels_last", "torch compiled", "torch compiled channels_last")
"""PyTorch in both layouts, eager and by `torch.compile`; the last two where there is a C++ compiler, which it wants."""

STEPS, CHECKED = 7, 3
RATE, MOMENTUM = 0.01, 0.9

TOLERANCE = (1e-4, 5e-2)
"""How far a loss may be from PyTorch's, relatively: the first, and later ones. Steps are ill-conditioned where maps are
as small as MobileNetV2's at 96x96: the third losses of PyTorch's own two layouts are 1.6e-2 apart."""


def network(name: str) -> Any:
    """The network, its weights drawn by seed 0."""
    from convmat import nn

    shape, _ = NETWORKS[name]
    return nn.MODELS[name](shape) if name in ("lenet", "unet") else nn.MODELS[name](shape, 10)


def batch(name: str) -> tuple[Any, Any]:
    """One batch, drawn by seed 0."""
    shape, size = NETWORKS[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((size, *shape), np.float32)
    where = (size, *shape[1:]) if name == "unet" else (size,)
    return x, rng.integers(0, 2 if name == "unet" else 10, where)


def ours(name: str, threads: int) -> Callable[[], float]:
    """A step of convmat."""
    import convmat
    from convmat import train

    convmat.threads(threads)
    trainer = network(name).trainer(optimiser=train.SGD(RATE, momentum=MOMENTUM))
    x, target = batch(name)
    return lambda: float(trainer.step(x, target))


def theirs(name: str, threads: int, last: bool, compiled: bool) -> Callable[[], float]:
    """A step of PyTorch over the same graph; its forward and backward pass compiled, or eager."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    graph = network(name).graph
    format = torch.channels_last if last else torch.contiguous_format
    values = {key: torch.tensor(np.array(value)) for key, value in graph.constants.items()}
    for key, value in values.items():
        if value.dtype == torch.float32 and "running" not in key and "constant" not in key:
            value = value.to(memory_format=format) if value.ndim == 4 else value
            values[key] = value.requires_grad_()
    parameters = [value for value in values.values() if value.requires_grad]
    optimiser = torch.optim.SGD(parameters, RATE, MOMENTUM)
    x, target = (torch.tensor(each) for each in batch(name))
    x = x.to(memory_format=format)

    nodes = [(OPERATORS[each.op], _words(each), each.inputs, each.outputs[0]) for each in graph.nodes]
    numbers = {key: float(value) for key, value in values.items() if value.ndim == 0}
    first, last_one = graph.inputs[0].name, graph.outputs[0]

    def forward(x: Any) -> Any:
        found = {**values, **numbers, first: x}
        for function, words, reads, writes in nodes:
            found[writes] = function(torch, F, words, *[found[each] for each in reads])
        return F.cross_entropy(found[last_one], target)

    run = torch.compile(forward, fullgraph=True, dynamic=False) if compiled else forward

    def step() -> float:
        loss = run(x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return float(loss.item())

    return step


def _words(node: Any) -> dict[str, Any]:
    """A node's attributes as PyTorch takes them: plain numbers and tuples, which its compiler looks into."""
    found = {
        key: tuple(value) if isinstance(value, (list, tuple)) else value
        for key, value in node.attributes.items()
    }
    if "pads" in found:
        found["pads"] = found["pads"][: len(found["strides"])]
    return found


OPERATORS: dict[str, Callable[..., Any]] = {
    "Conv": lambda torch, F, n, x, w, b=None: F.conv2d(
        x, w, b, n["strides"], n["pads"], n["dilations"], n["group"]
    ),
    "ConvTranspose": lambda torch, F, n, x, w, b: F.conv_transpose2d(x, w, b, n["strides"], n["pads"]),
    "BatchNormalization": lambda torch, F, n, x, w, b, m, v: F.batch_norm(x, m, v, w, b, True, 0.1, 1e-5),
    "Relu": lambda torch, F, n, x: F.relu(x),
    "Clip": lambda torch, F, n, x, low, high: F.hardtanh(x, low, high),
    "MaxPool": lambda torch, F, n, x: F.max_pool2d(x, n["kernel_shape"], n["strides"], n["pads"]),
    "GlobalAveragePool": lambda torch, F, n, x: F.adaptive_avg_pool2d(x, 1),
    "Flatten": lambda torch, F, n, x: torch.flatten(x, 1),
    "Gemm": lambda torch, F, n, x, w, b: F.linear(x, w, b),
    "Add": lambda torch, F, n, a, b: a + b,
    "Concat": lambda torch, F, n, *parts: torch.cat(parts, 1),
}
"""What the nodes of these networks mean to PyTorch."""


def work(name: str, peer: str, threads: int) -> dict[str, Any]:
    """The losses of the first steps, seconds of the first and the median of later ones, peak bytes."""
    __import__("convmat.train" if peer == "convmat" else "torch")  # whose own size is not the step's
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = (
        ours(name, threads)
        if peer == "convmat"
        else theirs(name, threads, "last" in peer, "compiled" in peer)
    )
    begun = time.perf_counter()
    losses = [step()]
    first = time.perf_counter() - begun
    losses += [step() for _ in range(CHECKED - 1)]
    taken = []
    for _ in range(STEPS):
        begun = time.perf_counter()
        step()
        taken.append(time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"losses": losses, "first": first, "seconds": statistics.median(taken), "peak": peak * 1024}


def compare(name: str, threads: int, rounds: int, peers: Sequence[str]) -> dict[str, Any]:
    """Every peer in turns, each time in a process of its own."""
    runs: dict[str, list[dict[str, Any]]] = {peer: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.training", name, "--worker", peer, "--threads", str(threads)],
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            runs[peer].append(json.loads(done.stdout.splitlines()[-1]))
    made: dict[str, Any] = {}
    for peer, several in runs.items():
        found = np.array(several[0]["losses"]) / np.array(runs["torch"][0]["losses"])
        if abs(found[0] - 1) > TOLERANCE[0] or np.abs(found - 1).max() > TOLERANCE[1]:
            raise SystemExit(f"{name}: {peer} gives other losses: {several[0]['losses']}")
        made[peer] = {
            key: statistics.median(each[key] for each in several) for key in ("first", "seconds", "peak")
        }
    return made


def main() -> None:
    """Print a line a network."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("networks", nargs="*", default=list(NETWORKS))
    asked.add_argument("--threads", type=int, default=2)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument(
        "--eager", action="store_true", help="without torch.compile, whose first steps take minutes"
    )
    asked.add_argument("--json")
    asked.add_argument("--worker")
    given = asked.parse_args()
    unknown = [name for name in given.networks if name not in NETWORKS]
    if unknown:
        asked.error(f"no network is called {unknown[0]!r}; there are {', '.join(NETWORKS)}")
    if given.worker:
        print(json.dumps(work(given.networks[0], given.worker, given.threads)))
        return
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    peers = [peer for peer in PEERS if "compiled" not in peer or (compiler and not given.eager)]
    found = {}
    for name in given.networks:
        found[name] = made = compare(name, given.threads, given.rounds, peers)
        best, least = (min(made[peer][key] for peer in peers[1:]) for key in ("seconds", "peak"))
        said = [
            f"{peer} {each['seconds'] * 1e3:.1f} ms, {each['peak'] / 2**20:.0f} MiB"
            for peer, each in made.items()
        ]
        ratio, share = best / made["convmat"]["seconds"], made["convmat"]["peak"] / least
        print(
            f"{name}: {'; '.join(said)}; {ratio:.2f} times PyTorch's best, {share:.2f} of its memory",
            flush=True,
        )
    if given.json:
        with open(given.json, "w") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
