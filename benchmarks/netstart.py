"""How long ResNet-50 takes from a file to its first answer, and how much memory then, in fresh processes.

    cold         convmat with empty caches: machine measured, network planned, kernels compiled
    cached       the same in another process, which finds both on disk
    saved        convmat with empty caches, from a file that `net.save` wrote, its machine code trusted
    onnxruntime  its session made and run

The clock starts before the import of the library and stops at the answer; NumPy is there already. Memory is what the
system keeps in RAM for the process after ten calls (resident), and the most it ever kept (peak). Nothing is pinned.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from benchmarks.startup import fresh

NET = "resnet50"

_SCRIPT = """
import json, sys, time
import numpy as np
x = np.ones((1, 3, 224, 224), np.float32)
start = time.perf_counter()
{load}
call()
seconds = time.perf_counter() - start
for _ in range(10):
    call()
with open("/proc/self/status") as status:
    kept = {{name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in status)
            if name in ("VmRSS", "VmHWM")}}
print(json.dumps([seconds, kept["VmRSS"], kept["VmHWM"]]))
"""

_SAVE = """
import sys, convmat
net = convmat.load(sys.argv[1])
net.save(sys.argv[2], {net.inputs[0].name: (1, 3, 224, 224)})
"""

_LOADS = {
    "convmat": """
import convmat
net = convmat.load(sys.argv[1], trust=sys.argv[1].endswith(".convmat"))
call = lambda: net(x)
""",
    "onnxruntime": """
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
call = lambda: session.run(None, {session.get_inputs()[0].name: x})
""",
}


@dataclass
class Started:
    """Seconds by way, bytes by library and kind."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    bytes: dict[str, list[int]] = field(default_factory=dict)


def measure(file: Path, times: int = 5) -> Started:
    """Each `times` times. Raises EngineError if a process fails. Bytes are told by Linux alone."""
    found = Started()
    if sys.platform != "linux":
        return found
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="convmat-bench-") as folder:
            saved = Path(folder) / f"{file.stem}.convmat"
            ways = {"cold": ("convmat", file), "cached": ("convmat", file), "saved": ("convmat", saved)}
            for way, (library, source) in (ways | {"onnxruntime": ("onnxruntime", file)}).items():
                if find_spec(library) is None:
                    continue
                cache = f"{folder}/caches"
                if way == "saved":
                    fresh("net.save(...)", _SAVE, cache, str(file), str(saved))
                    cache = f"{folder}/none"
                said = fresh(f"import {library}...", _SCRIPT.format(load=_LOADS[library]), cache, str(source))
                seconds, resident, peak = json.loads(said)
                found.seconds.setdefault(way, []).append(seconds)
                if way in ("cached", "onnxruntime"):
                    found.bytes.setdefault(f"{library} resident", []).append(resident)
                    found.bytes.setdefault(f"{library} peak", []).append(peak)
    return found
