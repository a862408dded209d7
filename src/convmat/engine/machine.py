"""What this machine can do, measured: the constants of the planner's cost model and of `convmat info`.

    machine(threads)   NumPy's float32 product at 512 x 512 x 512, FLOP/s; NumPy's copy, bytes/s     (no LLVM)
    peaks(threads)     FMAs on registers, FLOP/s; reading from L1, L2, L3 and memory, bytes/s        (kernels)

An FMA is two FLOPs. Each figure is the best of a few samples of 2 ms, since only disturbance makes them worse;
it is measured when first asked for and kept in the user's cache folder, by CPU and NumPy version.
`remeasure()` forgets them all. The file is believed only as far as its numbers are plausible.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convmat.engine import blasthreads, cache, objects, pool
from convmat.engine.cpu import Cpu, host
from convmat.errors import EngineError

# No machine of this century is slower, none of the next years faster; anything else in the file is damage.
_PLAUSIBLE = (1e6, 1e18)
_MOST_BYTES = 1 << 20
_SAMPLE_SECONDS = 2e-3


@dataclass(frozen=True)
class Machine:
    """What the blas engine has: float32 FLOP/s of NumPy's product, bytes/s that one thread copies in cache."""

    blas_flops: float
    copy_bandwidth: float


@dataclass(frozen=True)
class Peaks:
    """What compiled kernels have, all threads together: float32 FLOP/s, and bytes/s read from each level."""

    threads: int
    fma_flops: float
    l1_bandwidth: float
    l2_bandwidth: float
    l3_bandwidth: float
    memory_bandwidth: float


_figures: dict[str, float] | None = None
_machines: dict[int, Machine] = {}
_peaks: dict[int, Peaks] = {}
_file: Path | None = None


def machine(threads: int | None = None) -> Machine:
    """The blas engine's figures with `threads` threads (default: as many as convmat uses).

    >>> machine().blas_flops > 1e6
    True
    """
    n = threads or pool.count()
    if n not in _machines:
        _machines[n] = Machine(
            _figure(f"blas_flops/{n}", lambda: _blas_flops(n)), _figure("copy_bandwidth", _copy_bandwidth)
        )
    return _machines[n]


def peaks(threads: int | None = None) -> Peaks:
    """What compiled code reaches at best with `threads` threads (default: as many as convmat uses).

    Raises: EngineError where kernels cannot be compiled or run.
    """
    n = threads or pool.count()
    if n not in _peaks:
        cpu = host()
        kernels = _Kernels(cpu, n)
        reads = {
            "L1": cpu.l1 // 2,
            "L2": cpu.l2 // 2,
            "L3": cpu.l3 // 2 // n,
            # Read once, from start to end, through caches that hold less: between 64 and 256 MiB for all threads.
            "memory": min(max(2 * cpu.l3, 64 << 20), 256 << 20) // n,
        }
        rates = [_figure(f"read/{name}/{n}", lambda size=size: kernels.read(size)) for name, size in reads.items()]
        _peaks[n] = Peaks(n, _figure(f"fma_flops/{n}", kernels.fma), *rates)
    return _peaks[n]


def remeasure() -> None:
    """Forget all figures, in memory and on disk; the next question measures again."""
    global _figures
    _figures = {}
    _machines.clear()
    _peaks.clear()
    with suppress(OSError):
        _path().unlink()


def use_file(path: Path | None) -> None:
    """Keep figures in `path` (None: the user's cache folder), and forget those in memory."""
    global _file, _figures
    _file, _figures = path, None
    _machines.clear()
    _peaks.clear()


def _path() -> Path:
    return _file or cache.default_path().parent / "machine.json"


def _figure(name: str, measure: Callable[[], float]) -> float:
    """A figure from memory, from the file, or measured and written down."""
    global _figures
    if _figures is None:
        _figures = _read(_path())
    key = f"{host().key}/numpy-{np.__version__}/{name}"
    if key not in _figures:
        _figures[key] = measure()
        _write(_path(), _figures)
    return _figures[key]


def _read(path: Path) -> dict[str, float]:
    """The figures in a file, without what is no figure; none from a file that others may write."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not cache.trusted(os.fstat(descriptor), stat.S_ISREG):
                return {}
            found = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    low, high = _PLAUSIBLE
    return {name: rate for name, rate in found.items() if isinstance(rate, float) and low <= rate <= high}


def _write(path: Path, figures: dict[str, float]) -> None:
    """Keep the figures beside those another process has measured meanwhile; not being able to is no error."""
    merged = _read(path) | {name: float(rate) for name, rate in figures.items()}
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{os.getpid()}-{os.urandom(6).hex()}.tmp")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(temporary, flags, 0o600), "w") as file:
            json.dump(merged, file, indent=1)
        os.replace(temporary, path)


def _best(call: Callable[[], object], samples: int = 5) -> float:
    """The shortest of a few runs, in seconds."""
    seconds = math.inf
    for _ in range(samples):
        start = time.perf_counter()
        call()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds


def _blas_flops(threads: int) -> float:
    a = np.ones((512, 512), np.float32)
    out = np.empty_like(a)
    with blasthreads.limit(threads):
        return 2 * 512**3 / _best(lambda: np.matmul(a, a, out=out))


def _copy_bandwidth() -> float:
    source = np.ones(4 << 20, np.uint8)
    target = np.empty_like(source)
    return len(source) / _best(lambda: np.copyto(target, source))


class _Kernels:
    """The two kernels that measure, each a task of the pool: `fma(count)` and `read(chunk, times)`."""

    def __init__(self, cpu: Cpu, threads: int) -> None:
        self.cpu = cpu
        self.threads = threads
        self._code: objects.Loaded | None = None

    def _address(self, name: str) -> int:
        if self._code is None:
            (self._code,) = objects.load([source(self.cpu)], self.cpu)
        return self._code.symbols[name]

    def fma(self) -> float:
        """FLOP/s of independent FMAs on registers."""
        sink = np.zeros(16 * self.threads, np.float64)

        def seconds(count: int) -> float:
            return self._seconds("fma", 4 * self.threads, count, 0, sink)

        count = _enough(seconds, 1000)
        return 4 * self.threads * count * _flops_a_round(self.cpu) / min(seconds(count) for _ in range(5))

    def read(self, chunk: int) -> float:
        """Bytes/s of reading chunks of this size, each by one thread, several times over."""
        chunk = max(4096, chunk // 4096 * 4096)
        # Two chunks a thread where they are small, so that a thread that comes late costs less.
        tasks = self.threads * (1 if chunk > 1 << 20 else 2)
        # Written first: untouched pages would all be one page of zeros.
        data = np.ones(tasks * chunk + 64, np.uint8)
        sink = np.zeros(16 * self.threads, np.float64)
        first = data.ctypes.data + -data.ctypes.data % 64

        def seconds(times: int) -> float:
            return self._seconds("read", tasks, times, first, sink, chunk)

        times = _enough(seconds, 1)
        return tasks * chunk * times / min(seconds(times) for _ in range(5))

    def _seconds(self, name: str, tasks: int, *arguments: int | np.ndarray) -> float:
        code = self._address(name)
        words = [each.ctypes.data if isinstance(each, np.ndarray) else each for each in arguments]
        block = (ctypes.c_int64 * len(words))(*words)
        start = time.perf_counter()
        pool.run(code, ctypes.addressof(block), tasks, self.threads)
        return time.perf_counter() - start


def _enough(seconds: Callable[[int], float], count: int) -> int:
    """A count for which a sample takes about 2 ms."""
    seconds(count)
    while True:
        spent = seconds(count)
        if spent > _SAMPLE_SECONDS / 2 or count > 1 << 40:
            return count
        count = max(count + 1, int(count * min(100.0, _SAMPLE_SECONDS / max(spent, 1e-7))))


def _accumulators(cpu: Cpu) -> int:
    """Enough to hide the latency of two FMA units (about 4 cycles each), within the registers."""
    return 20 if cpu.vectors >= 32 else 10


def _flops_a_round(cpu: Cpu) -> int:
    return 2 * _accumulators(cpu) * cpu.lanes(4)


def source(cpu: Cpu) -> str:
    """The kernels' LLVM IR.

    fma   reads (rounds, -, sink):           a = a * s + t, for each accumulator a, `rounds` times
    read  reads (times, data, sink, chunk):  combines chunk number `index` of the data, `times` times
    """
    n, lanes = _accumulators(cpu), cpu.lanes(4)
    vector, words = f"<{lanes} x float>", f"<{cpu.lanes(8)} x i64>"
    some = f"{vector} splat (float 0.5)"
    if cpu.fma:
        step = [f"  %b{i} = call {vector} @llvm.fma({vector} %a{i}, {some}, {some})" for i in range(n)]
    else:
        step = [
            f"  %c{i} = fmul {vector} %a{i}, splat (float 0.5)\n  %b{i} = fadd {vector} %c{i}, splat (float 0.5)"
            for i in range(n)
        ]
    fma_phis = [f"  %a{i} = phi {vector} [ splat (float {float(i)}), %entry ], [ %b{i}, %loop ]" for i in range(n)]
    fma_sum = _reduced("b", n, vector, "fadd")
    loads = [
        f"  %p{i} = getelementptr i8, ptr %at, i64 {i * cpu.vector_bytes}\n"
        f"  %v{i} = load {words}, ptr %p{i}, align {cpu.vector_bytes}\n"
        f"  %b{i} = xor {words} %a{i}, %v{i}"
        for i in range(8)
    ]
    read_phis = [f"  %a{i} = phi {words} [ zeroinitializer, %again ], [ %b{i}, %loop ]" for i in range(8)]
    read_sum = _reduced("b", 8, words, "xor")
    newline = "\n"
    return f"""\
declare {vector} @llvm.fma({vector}, {vector}, {vector})

define void @fma(ptr %args, i64 %index, i64 %thread) {{
entry:
  %rounds = load i64, ptr %args
  %at.sink = getelementptr i64, ptr %args, i64 2
  %sink = load ptr, ptr %at.sink
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
{newline.join(fma_phis)}
{newline.join(step)}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %rounds
  br i1 %more, label %loop, label %out
out:
{fma_sum}
  %far = mul i64 %thread, 128
  %to = getelementptr i8, ptr %sink, i64 %far
  store {vector} %sum, ptr %to, align 4
  ret void
}}

define void @read(ptr %args, i64 %index, i64 %thread) {{
entry:
  %times = load i64, ptr %args
  %at.data = getelementptr i64, ptr %args, i64 1
  %data = load ptr, ptr %at.data
  %at.sink = getelementptr i64, ptr %args, i64 2
  %sink = load ptr, ptr %at.sink
  %at.chunk = getelementptr i64, ptr %args, i64 3
  %chunk = load i64, ptr %at.chunk
  %skip = mul i64 %index, %chunk
  %mine = getelementptr i8, ptr %data, i64 %skip
  %far = mul i64 %thread, 128
  %to = getelementptr i8, ptr %sink, i64 %far
  br label %again
again:
  %time = phi i64 [ 0, %entry ], [ %time.next, %done ]
  br label %loop
loop:
  %i = phi i64 [ 0, %again ], [ %next, %loop ]
{newline.join(read_phis)}
  %at = getelementptr i8, ptr %mine, i64 %i
{newline.join(loads)}
  %next = add i64 %i, {8 * cpu.vector_bytes}
  %more = icmp ult i64 %next, %chunk
  br i1 %more, label %loop, label %done
done:
{read_sum}
  store {words} %sum, ptr %to, align 8
  %time.next = add i64 %time, 1
  %repeat = icmp ult i64 %time.next, %times
  br i1 %repeat, label %again, label %out
out:
  ret void
}}
"""


def _reduced(name: str, count: int, kind: str, operation: str) -> str:
    """`%sum` of `%name0 .. %name{count-1}`: results that nobody uses would be nobody's work."""
    lines = [f"  %{name}.1 = {operation} {kind} %{name}0, %{name}1"]
    lines += [f"  %{name}.{i} = {operation} {kind} %{name}.{i - 1}, %{name}{i}" for i in range(2, count)]
    lines.append(f"  %sum = {operation} {kind} %{name}.{count - 1}, {_zero(operation, kind)}")
    return "\n".join(lines)


def _zero(operation: str, kind: str) -> str:
    """What leaves the other operand as it is."""
    return "splat (float -0.0)" if operation == "fadd" else "zeroinitializer"
