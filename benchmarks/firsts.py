"""How long each network takes from its file to its first answer, and how much memory then, in fresh processes.

    cold         convmat without kernels on disk: each is compiled; this machine was measured before
    warm         convmat with the kernels that the process before left on disk
    onnxruntime  its session made and run

The clock starts before the import of the library and stops at the answer; NumPy is there already. Resident memory is
what the system keeps in RAM for the process after ten calls. Nothing is pinned.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import netjobs
from benchmarks.startup import fresh
from convmat.errors import ConvmatError

_SCRIPT = """
import json, sys, time
import numpy as np
inputs = dict(np.load(sys.argv[2]))
start = time.perf_counter()
{load}
call()
seconds, found = time.perf_counter() - start, count()
for _ in range(10):
    call()
resident = 0
with open("/proc/self/status") as status:
    resident = sum(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))
print(json.dumps([seconds, found, resident]))
"""

_LOADS = {
    "convmat": """
import convmat
net = convmat.load(sys.argv[1])
call = lambda: net(inputs)
def count():
    from convmat.engine import jit_cache
    return jit_cache.counts.compiled
""",
    "onnxruntime": """
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
call = lambda: session.run(None, inputs)
count = lambda: 0
""",
}

_MEASURE = """
from convmat import engine
engine.machine()
peaks = engine.peaks()
peaks.l3_bandwidth, peaks.bf16_flops
"""


@dataclass(frozen=True)
class First:
    """Medians of one network: seconds, kernels compiled, resident bytes."""

    net: str
    cold: float
    kernels: int
    warm: float
    other: float
    resident: int
    other_resident: int


def measure(names: Sequence[str], times: int, tell: Callable[[str], object]) -> Iterator[First]:
    """Each network as it is measured; those that cannot be had, or that a process fails with, are told and left out."""
    if sys.platform != "linux" or find_spec("onnxruntime") is None:
        tell("first answers are compared on Linux, where onnxruntime is installed")
        return
    with tempfile.TemporaryDirectory(prefix="convmat-bench-") as folder:
        kept = Path(folder, "machine")
        fresh("engine.peaks()", _MEASURE, str(kept))
        for name in names:
            try:
                yield _measure_net(name, times, Path(folder))
            except ConvmatError as error:
                tell(f"{name} is left out: {error}")


def _measure_net(name: str, times: int, folder: Path) -> First:
    """One network, `times` times. Raises ConvmatError."""
    file, data = netjobs.written(name, folder), folder / f"{name}.npz"
    job = netjobs.NetJob(name, shape=netjobs.NETS[name].shape)
    inputs: dict[str, Any] = dict(zip(netjobs.names(str(file))[0], netjobs.given(job), strict=True))
    np.savez(data, **inputs)
    found: dict[str, list[list[float]]] = {"cold": [], "warm": [], "onnxruntime": []}
    for _ in range(times):
        cache = folder / "caches"
        shutil.rmtree(cache, ignore_errors=True)
        shutil.copytree(folder / "machine", cache, ignore=shutil.ignore_patterns("objects"))
        for way, rows in found.items():
            library = way if way in _LOADS else "convmat"
            script = _SCRIPT.format(load=_LOADS[library])
            rows.append(json.loads(fresh(f"{name} in {library}", script, str(cache), str(file), str(data))))
    file.unlink()
    seconds, counts, sizes = (
        {way: statistics.median(row[at] for row in rows) for way, rows in found.items()} for at in range(3)
    )
    return First(
        name, seconds["cold"], int(counts["cold"]), seconds["warm"], seconds["onnxruntime"], int(sizes["warm"]),
        int(sizes["onnxruntime"]),
    )  # fmt: skip


HEAD = f"{'network':20} {'cold':>7} {'kernels':>8} {'warm':>7} {'ort':>7} {'/ort':>6} {'MiB':>7} {'ort':>7} {'/ort':>6}"


def row(first: First) -> str:
    """A line of the table under HEAD.

    >>> row(First("net", 1.5, 12, 0.4, 0.1, 60 << 20, 40 << 20)).split()
    ['net', '1.50', '12', '0.40', '0.10', '4.0', '60', '40', '1.50']
    """
    return (
        f"{first.net:20} {first.cold:7.2f} {first.kernels:8} {first.warm:7.2f} {first.other:7.2f} "
        f"{first.warm / first.other:6.1f} {first.resident / 2**20:7.0f} {first.other_resident / 2**20:7.0f} "
        f"{first.resident / first.other_resident:6.2f}"
    )
