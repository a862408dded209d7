"""How long a user waits at the start, in fresh processes: `import convmat`, the first call, the first call again.

    import    import convmat, NumPy included
    first     one layer through `convmat.conv` with empty caches: machine measured, kernels compiled
    again     the same in another process, which finds both on disk

Seconds; nothing is pinned, for nobody's first call is. Python's bytecode is there, as pip leaves it: to compile all of
the package's source takes as long as everything else.
"""

from __future__ import annotations

import compileall
import json
import os
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from benchmarks import ROOT
from convmat.errors import EngineError

PATIENCE = 120.0

_CALL = "...convmat.conv(x, w, padding=1)"

_SCRIPT = """
import json, time
start = time.perf_counter()
import convmat
imported = time.perf_counter()
import numpy as np
x, w = np.ones((1, 64, 56, 56), np.float32), np.ones((64, 64, 3, 3), np.float32)
called = time.perf_counter()
convmat.conv(x, w, padding=1)
print(json.dumps([imported - start, time.perf_counter() - called]))
"""


def measure(times: int = 5) -> dict[str, list[float]]:
    """Seconds by name, each `times` times. Raises EngineError if a process fails."""
    found: dict[str, list[float]] = {"import": [], "first": [], "again": []}
    for _ in range(times):
        with tempfile.TemporaryDirectory(prefix="convmat-bench-") as folder:
            _, first = json.loads(fresh(_CALL, _SCRIPT, folder))
            imported, again = json.loads(fresh(_CALL, _SCRIPT, folder))
        for name, seconds in (("import", imported), ("first", first), ("again", again)):
            found[name].append(seconds)
    return found


def fresh(what: str, script: str, cache: str, *arguments: str) -> str:
    """What a script prints in a process of its own whose caches are in that folder. `what`: the gist of it, for errors.

    Raises EngineError if it fails.
    """
    _write_bytecode()
    paths = [str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "XDG_CACHE_HOME": cache, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    try:
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], env=environment, capture_output=True, text=True,
            timeout=PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise EngineError(
            f"bench: a first call did not end in {PATIENCE:g} seconds\n  python -c '{what}'\n"
            "  leave this part out, e.g. with --no-startup"
        ) from None
    if done.returncode != 0:
        raise EngineError(
            f"bench: a first call failed with exit code {done.returncode}\n"
            f"  {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}\n"
            "  try `python -c 'import convmat'`, or leave this part out, e.g. with --no-startup"
        )
    return done.stdout


@lru_cache(maxsize=1)
def _write_bytecode() -> None:
    """Write what is missing or older than its source, where that is allowed."""
    compileall.compile_dir(Path(__file__).parents[1], quiet=2)
