"""The kernels that measure this CPU: multiplications on registers, and reading from each level of memory.

    fma    a = a * s + t on independent registers             2 FLOPs for each lane of each
    dot    a = a + dot products of four bytes                 8 operations for each lane of each
    bf16   a = a + dot products of two bfloat16 numbers       4 FLOPs for each lane of each
    tiles  the same of whole tiles, of bytes and of bfloat16
    read   combines all vectors of a chunk, several times     bytes
    swap   changes a chunk that another thread changed        bytes, a chunk a thread and job

They are tasks of the pool, so that n threads are measured together. A figure is the best of samples of 2 ms (`calm`).
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from convmat.engine.cpu import Cpu
from convmat.engine.ir import tiles
from convmat.engine.ir.dots import Unit, dot, signed_bytes, unit_of, unsigned_bytes
from convmat.engine.ir.emitter import PREFER_512, Module
from convmat.engine.ir.instructions import const, f32, i32, i64, ptr, splat, trunc, urem
from convmat.engine.measure.calm import rate_of
from convmat.engine.runtime import jit_cache, thread_pool

_SAMPLE_SECONDS = 2e-3
TILE_SUMS = 4
"""Tiles that are summed into, as in a kernel: as many as hide how long a product takes."""
_ROUGHLY = 3
SWAPPED = 16 << 10
"""Bytes that a thread takes over from another: the half of a small map."""
TIMES = 16
"""How often it passes over them: without work for longer than others need to come, one would do all of it."""


class Kernels:
    """The kernels for one CPU and a number of threads."""

    def __init__(self, cpu: Cpu, threads: int) -> None:
        self.cpu = cpu
        self.threads = threads
        (self._code,) = jit_cache.load([microbench_ir(cpu)], cpu)
        # 128 bytes a thread, for results that must go somewhere to be computed at all.
        self._sink = np.zeros(16 * threads, np.float64)

    def fma(self) -> float:
        """FLOP/s of independent FMAs on registers, all threads together."""
        tasks = 4 * self.threads

        def seconds(rounds: int) -> float:
            return self._seconds("fma", tasks, rounds, 0, self._sink)

        rounds = _find_count(seconds, 1000)
        flops = 2 * accumulators(self.cpu) * self.cpu.lanes(4)
        return rate_of(tasks * rounds * flops, lambda: seconds(rounds))

    def dot(self) -> float:
        """Multiplications and additions of bytes a second on registers, all threads together."""
        return self._dots("dot", 8)

    def bf16(self) -> float:
        """FLOP/s of products of bfloat16 numbers on registers, all threads together."""
        return self._dots("bf16", 4)

    def tiles(self, operations: int) -> float:
        """Operations a second of whole tiles: 8 for each four bytes of a row and a column, 4 for each two bfloat16."""
        name = "tiles" if operations == 8 else "tiles_bf16"
        return self._dots(name, operations, TILE_SUMS * tiles.ROWS * tiles.ROWS * tiles.ROWS)

    def _dots(self, name: str, operations: int, lanes: int = 0) -> float:
        """So many operations a lane, by the second; `lanes` of a round, by default those of all accumulators."""
        tasks = 4 * self.threads

        def seconds(rounds: int) -> float:
            return self._seconds(name, tasks, rounds, self._sink)

        rounds = _find_count(seconds, 1000)
        each = operations * (lanes or accumulators(self.cpu) * self.cpu.lanes(4))
        return rate_of(tasks * rounds * each, lambda: seconds(rounds))

    def read(self, chunk: int) -> float:
        """Bytes/s of reading chunks of this size, each by one thread."""
        chunk = max(4096, chunk // 4096 * 4096)
        # Two chunks a thread where they are small, so that a thread that comes late costs less.
        tasks = self.threads * (1 if chunk > 1 << 20 else 2)
        # Written first: untouched pages would all be one page of zeros.
        data = np.ones(tasks * chunk + 64, np.uint8)
        first = data[-data.ctypes.data % 64 :]

        def seconds(times: int) -> float:
            return self._seconds("read", tasks, times, first, self._sink, chunk)

        times = _find_count(seconds, 1)
        return rate_of(tasks * chunk * times, lambda: seconds(times))

    def swap(self) -> float:
        """Bytes/s of jobs in which each thread works TIMES on a chunk that another wrote in the job before."""
        data = np.ones(self.threads * SWAPPED + 64, np.uint8)
        first = data[-data.ctypes.data % 64 :].ctypes.data
        words = [
            self._code.symbols["swap"],
            self.threads,
            self.threads,
            0,
            first,
            SWAPPED,
            TIMES,
            self.threads,
        ]
        blocks = [(ctypes.c_int64 * (len(words) + 1))(*words, turn) for turn in range(self.threads)]
        addresses = [*map(ctypes.addressof, blocks)]

        def seconds(jobs: int) -> float:
            some = (ctypes.c_int64 * jobs)(*(addresses * -(-jobs // len(addresses)))[:jobs])
            start = time.perf_counter()
            thread_pool.launch_all(some)
            return time.perf_counter() - start

        jobs = _find_count(seconds, 100)
        return rate_of(jobs * self.threads * SWAPPED, lambda: seconds(jobs))

    def _seconds(self, name: str, tasks: int, *arguments: int | npt.NDArray[np.generic]) -> float:
        """One sample; the arguments go to the kernel as 64-bit words, arrays as addresses."""
        words = [each.ctypes.data if isinstance(each, np.ndarray) else each for each in arguments]
        block = (ctypes.c_int64 * len(words))(*words)
        start = time.perf_counter()
        thread_pool.run(self._code.symbols[name], ctypes.addressof(block), tasks, self.threads)
        return time.perf_counter() - start


def _find_count(seconds: Callable[[int], float], count: int) -> int:
    """A count for which a sample takes about 2 ms; the first call, which wakes everybody, tells nothing."""
    seconds(count)
    while True:
        spent = min(seconds(count) for _ in range(_ROUGHLY))
        if spent > _SAMPLE_SECONDS / 2 or count > 1 << 40:
            return count
        count = max(count + 1, int(count * min(100.0, _SAMPLE_SECONDS / max(spent, 1e-7))))


def accumulators(cpu: Cpu) -> int:
    """Enough to hide the latency of two FMA units (about 4 cycles each), within the registers."""
    return 20 if cpu.vector_registers >= 32 else 10


def microbench_ir(cpu: Cpu) -> str:
    """The kernels' LLVM IR.

    fma   reads (rounds, -, sink):           a = a * s + t, for each accumulator a, `rounds` times
    read  reads (times, data, sink, chunk):  combines chunk number `index` of the data, `times` times
    swap  reads (data, chunk, times, threads, turn): adds 1 to chunk number `index + turn`, modulo `threads`, so often
    """
    vector = f"<{cpu.lanes(4)} x float>"
    return (
        f"declare {vector} @llvm.fma({vector}, {vector}, {vector})\n\n{_fma_source(cpu)}{_read_source(cpu)}"
        f"{_dot_source(cpu)}{_swap_source(cpu)}"
    )


def _swap_source(cpu: Cpu) -> str:
    """Function `swap`."""
    module = Module(PREFER_512 if cpu.vector_bytes == 64 else "", fused=cpu.fma)
    fn = module.function("swap", {"args": ptr, "index": i64, "thread": i64})
    args, index, _ = fn.arguments
    types = (ptr, i64, i64, i64, i64)
    data, chunk, times, threads, turn = (fn.load(args + 8 * at, type) for at, type in enumerate(types))
    mine, vector = data + urem(index + turn, threads) * chunk, f32.x(cpu.lanes(4))
    with fn.loop(0, times), fn.loop(0, chunk, vector.bytes) as at:
        fn.store(fn.load(mine + at.index, vector) + 1.0, mine + at.index)
    return str(module)


def _dot_source(cpu: Cpu) -> str:
    """Functions `dot` and, where there are such, `bf16`, `tiles` and `tiles_bf16`: they read (rounds, sink)."""
    module = Module(PREFER_512 if cpu.vector_bytes == 64 else "", fused=cpu.fma)
    _dots(module, "dot", cpu, unit_of(cpu))
    if cpu.bf16:
        _dots(module, "bf16", cpu, Unit.BF16)
    if cpu.amx:
        _tiles(module, "tiles", floats=False)
        _tiles(module, "tiles_bf16", floats=True)
    return str(module)


def _tiles(module: Module, name: str, *, floats: bool) -> None:
    fn = module.function(name, {"args": ptr, "index": i64, "thread": i64})
    args, _, thread = fn.arguments
    room = fn.load(args, ptr, i64.bytes) + thread * 128
    tiles.configure(fn, room)
    for number in range(tiles.REGISTERS):
        tiles.zero(fn, number)
    with fn.loop(0, fn.load(args, i64)) as _:
        for sums in range(TILE_SUMS):
            tiles.multiply(fn, sums, TILE_SUMS, TILE_SUMS + 1, floats=floats)
    tiles.release(fn)


def _dots(module: Module, name: str, cpu: Cpu, unit: Unit) -> None:
    fn = module.function(name, {"args": ptr, "index": i64, "thread": i64})
    args, index, thread = fn.arguments
    vector = (f32 if unit is Unit.BF16 else i32).x(cpu.lanes(4))
    some = splat(trunc(index, to=i32), lanes=vector.lanes)
    x, w = unsigned_bytes(some, unit), signed_bytes(some, unit)
    zeros = [const(vector, 0.0 if vector.is_float else 0)] * accumulators(cpu)
    with fn.loop(0, fn.load(args, i64), carried=zeros) as loop:
        loop.carry(*(dot(fn, each, x, w, unit) for each in loop.carried))
    total = loop.results[0]
    for each in loop.results[1:]:
        total = total + each
    fn.store(total, fn.load(args, ptr, i64.bytes) + thread * 128)


def _fma_source(cpu: Cpu) -> str:
    """Function `fma`."""
    n, lanes = accumulators(cpu), cpu.lanes(4)
    vector = f"<{lanes} x float>"
    some = f"{vector} splat (float 0.5)"
    if cpu.fma:
        step = [f"  %b{i} = call {vector} @llvm.fma({vector} %a{i}, {some}, {some})" for i in range(n)]
    else:
        step = [
            f"  %c{i} = fmul {vector} %a{i}, splat (float 0.5)\n  %b{i} = fadd {vector} %c{i}, splat (float 0.5)"
            for i in range(n)
        ]
    fma_phis = [
        f"  %a{i} = phi {vector} [ splat (float {float(i)}), %entry ], [ %b{i}, %loop ]" for i in range(n)
    ]
    fma_sum = _reduce("b", n, vector, "fadd")
    newline = "\n"
    return f"""\
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

"""


def _read_source(cpu: Cpu) -> str:
    """Function `read`."""
    words = f"<{cpu.lanes(8)} x i64>"
    loads = [
        f"  %p{i} = getelementptr i8, ptr %at, i64 {i * cpu.vector_bytes}\n"
        f"  %v{i} = load {words}, ptr %p{i}, align {cpu.vector_bytes}\n"
        f"  %b{i} = xor {words} %a{i}, %v{i}"
        for i in range(8)
    ]
    read_phis = [f"  %a{i} = phi {words} [ zeroinitializer, %again ], [ %b{i}, %loop ]" for i in range(8)]
    read_sum = _reduce("b", 8, words, "xor")
    newline = "\n"
    return f"""\
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


def _reduce(name: str, count: int, kind: str, operation: str) -> str:
    """`%sum` of `%name0 .. %name{count-1}`: results that nobody uses would be nobody's work."""
    lines = [f"  %{name}.1 = {operation} {kind} %{name}0, %{name}1"]
    lines += [f"  %{name}.{i} = {operation} {kind} %{name}.{i - 1}, %{name}{i}" for i in range(2, count)]
    lines.append(f"  %sum = {operation} {kind} %{name}.{count - 1}, {_zero(operation, kind)}")
    return "\n".join(lines)


def _zero(operation: str, kind: str) -> str:
    """What leaves the other operand as it is."""
    return "splat (float -0.0)" if operation == "fadd" else "zeroinitializer"
