"""AArch64 code, run: on an emulated processor where one is installed (`pip install unicorn`)."""

from __future__ import annotations

import functools
import struct
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.engine import jit, requantise, weigh
from convmat.engine.cpu import Cpu
from convmat.engine.job import HEADER, WORD
from convmat.engine.kernels.text import kernel_text
from convmat.engine.measure import microbench
from convmat.engine.operands import aligned_size
from convmat.engine.runtime import compiler, elf, thread_pool_ir
from convmat.geometry import Geometry
from convmat.lowering import find_lowering
from convmat.planner.candidates import dtypes_of, operand_extents
from convmat.problem import EpilogueForm, Problem
from convmat.product import Packing

unicorn: Any = pytest.importorskip("unicorn", reason="no emulator of AArch64 is installed")
registers: Any = pytest.importorskip("unicorn.arm64_const", reason="no emulator of AArch64 is installed")

CODE, DATA, STACK, END = 0x7F12_3456_7000, 0x100_0000, 0x1000_0000, 0x2000_0000
SPACE = 1 << 20


class Arm:
    """One module in an emulated machine's memory."""

    def __init__(self, ir: str, cpu: str = "neoverse-n1") -> None:
        self.image = elf.parse(compiler.generate(ir, "aarch64-unknown-linux-gnu", cpu, "", 2))
        placed = self.image.place(CODE)
        self.machine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self.machine.ctl_set_cpu_model(registers.UC_CPU_ARM64_MAX)
        for start, size in (
            (CODE, -(-len(placed) // 4096) * 4096),
            (DATA, SPACE),
            (STACK, SPACE),
            (END, 4096),
        ):
            self.machine.mem_map(start, size)
        self.machine.mem_write(CODE, placed)
        # Floating point is off when the processor starts.
        access = self.machine.reg_read(registers.UC_ARM64_REG_CPACR_EL1)
        self.machine.reg_write(registers.UC_ARM64_REG_CPACR_EL1, access | 3 << 20)

    def address(self, name: str) -> int:
        return CODE + self.image.functions[name]

    def call(self, name: str, *arguments: int) -> int:
        """Call a function of integers; it returns to where nothing is."""
        for number, value in enumerate(arguments):
            self.machine.reg_write(getattr(registers, f"UC_ARM64_REG_X{number}"), value)
        self.machine.reg_write(registers.UC_ARM64_REG_SP, STACK + SPACE)
        self.machine.reg_write(registers.UC_ARM64_REG_LR, END)
        self.machine.emu_start(self.address(name), END)
        return int(self.machine.reg_read(registers.UC_ARM64_REG_X0))

    def number(self) -> float:
        """The double that the last call returned."""
        word = self.machine.reg_read(registers.UC_ARM64_REG_D0)
        return float(struct.unpack("<d", struct.pack("<Q", word))[0])

    def write(self, at: int, data: bytes) -> None:
        self.machine.mem_write(at, data)

    def read(self, at: int, layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self.machine.mem_read(at, struct.calcsize(layout)))


def test_references_reach_on_the_processor_itself() -> None:
    arm = Arm("""
@table = private constant [2 x double] [double 1.5, double 2.5], align 32

define internal i64 @twice(i64 %a) noinline {
  %b = add i64 %a, %a
  ret i64 %b
}

define i64 @four_times(i64 %a) {
  %b = call i64 @twice(i64 %a)
  %c = call i64 @twice(i64 %b)
  ret i64 %c
}

define double @look_up(i64 %i) {
  %p = getelementptr double, ptr @table, i64 %i
  %v = load double, ptr %p
  %w = fmul double %v, 0x400921FB54442D18
  ret double %w
}

define void @scale(ptr %x) {
  %v = load <4 x float>, ptr %x, align 4
  %w = fmul <4 x float> %v, <float 1.0, float 2.0, float 3.0, float 4.0>
  store <4 x float> %w, ptr %x, align 4
  ret void
}
""")
    assert arm.call("four_times", 21) == 84
    for index, value in enumerate((1.5, 2.5)):
        arm.call("look_up", index)
        assert arm.number() == value * 3.141592653589793
    arm.write(DATA, struct.pack("<4f", 1, 1, 1, 1))
    arm.call("scale", DATA)
    assert arm.read(DATA, "<4f") == (1, 2, 3, 4)


@pytest.mark.parametrize("cpu", ["neoverse-n1", "cortex-a72"])
def test_the_pools_caller_does_every_task(cpu: str) -> None:
    """With the newer processors' single instructions for atomics, and with the older ones' loops."""
    mark = """
define void @mark(ptr %args, i64 %index, i64 %thread) {
  %p = getelementptr i64, ptr %args, i64 %index
  %old = load i64, ptr %p
  %new = add i64 %old, 1
  store i64 %new, ptr %p
  ret void
}
"""
    arm = Arm(thread_pool_ir.pool_ir("aarch64") + mark, cpu)
    state, board = DATA, DATA + SPACE // 2
    for times, threads in enumerate((1, 4, 4), 1):
        arm.call("run", state, arm.address("mark"), board, 10, threads)
        assert arm.read(board, "<10q") == (times,) * 10
        assert arm.read(state + thread_pool_ir.LOCK, "<i") == (0,)
    assert arm.read(state + thread_pool_ir.DONE, "<i") == (10,)
    arm.write(board, struct.pack("<4q", arm.address("mark"), 10, 3, 0) + bytes(80))
    arm.call("launch", state, board)
    assert arm.read(board + HEADER, "<10q") == (1,) * 10


def test_the_measuring_kernels() -> None:
    cpu = Cpu.named("neoverse-n1")
    arm = Arm(microbench.microbench_ir(cpu))
    data = np.arange(1024, dtype=np.int64) * 0x1234567
    sink = DATA + SPACE // 2
    arm.write(DATA + 4096, data.tobytes())
    arm.write(DATA, struct.pack("<4q", 1, DATA + 4096, sink, data.nbytes))
    arm.call("read", DATA, 0, 0)
    assert arm.read(sink, "<2q") == tuple(functools.reduce(np.bitwise_xor, data.reshape(-1, 2)).tolist())
    arm.write(DATA, struct.pack("<3q", 2, 0, sink))
    arm.call("fma", DATA, 0, 0)
    expected = sum((start * 0.5 + 0.5) * 0.5 + 0.5 for start in range(microbench.accumulators(cpu)))
    assert arm.read(sink, "<4f") == (expected,) * 4


class Job:
    """A program's steps on an emulated processor: its arrays, tables and blocks lie in its memory."""

    def __init__(self, program: jit.JitProgram, cpu: Cpu) -> None:
        self.program, self.cpu, self.free = program, cpu, DATA

    def place(self, arm: Arm, array: Any) -> int:
        """Where a copy of the array lies."""
        at, self.free = self.free, self.free + aligned_size(array.nbytes + 64)
        arm.write(at, array.tobytes())
        return at

    def run(self, **arrays: Any) -> Any:
        """y of the arrays, whose values are read and not changed."""
        arms = [Arm(kernel_text(recipe, self.cpu)) for recipe in self.program.recipes]
        scratch, y = np.zeros(self.program.workspace + 64, np.uint8), arrays["y"]
        for arm, step in zip(arms, self.program.steps, strict=True):
            self.free = DATA
            block = np.frombuffer(step.template, np.int64).copy()
            where = {name: self.place(arm, each) for name, each in arrays.items()}
            where |= {
                "scratch": self.place(arm, scratch),
                "a": self.place(arm, np.zeros(step.weight_bytes, np.uint8)),
            }
            for name, at in where.items():
                if name in step.at:
                    block[step.at[name]] = at + step.origin.get(name, 0)
            for name, table in step.tables().items():
                block[(HEADER + step._arguments.offset(name)) // WORD] = self.place(arm, table)
            begin = self.place(arm, block) + HEADER
            for name, count in (("weights", step.weight_tasks), ("task", step.tasks)):
                for index in range(count):
                    arm.call(name, begin, index, 0)
            scratch = np.frombuffer(arm.machine.mem_read(where["scratch"], scratch.nbytes), np.uint8)
            y = np.frombuffer(arm.machine.mem_read(where["y"], arrays["y"].nbytes), arrays["y"].dtype)
        return y.reshape(arrays["y"].shape)


@pytest.mark.parametrize("types", [("uint8", "int8"), ("int8", "uint8")])
@pytest.mark.parametrize("name", ["neoverse-n1", "cortex-a72"])
def test_products_of_bytes_are_exact(name: str, types: tuple[str, str]) -> None:
    """By dot products of signed bytes, and without."""
    cpu, rng = Cpu.named(name), np.random.default_rng(1)
    g = Geometry.of((1, 19, 5, 6), (11, 19, 3, 3), padding=1)
    x, w = (
        rng.integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, shape).astype(kind)
        for kind, shape in zip(types, (g.x_shape, g.w_shape), strict=True)
    )
    w_zero = rng.integers(0, 9, g.O).astype(np.int32)
    problem = Problem.of(g, types[0], w_dtype=types[1], x_zero=7, w_zero=True)
    program = jit.prepare(
        find_lowering("im2col").products(problem),
        Packing.PANEL,
        dtypes_of(problem),
        operand_extents(problem),
        1 << 24,
        cpu=cpu,
    )
    assert isinstance(program, jit.JitProgram), program
    y = Job(program, cpu).run(x=x, w=w, y=np.zeros(g.y_shape, np.int32), **{"w zero": w_zero})
    wide = w.astype(float) - w_zero.reshape(-1, 1, 1, 1)
    wanted = convmat.conv(x.astype(float) - 7, wide, padding=1, exact=True, engine="blas")
    np.testing.assert_array_equal(y, wanted)
    assert ("sdot" in kernel_text(program.recipes[-1], cpu)) == cpu.dotprod


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_bytes_of_products_are_rounded_again(layout: str) -> None:
    """By numbers of a channel, then with a residual, along both axes of a tile."""
    cpu, rng = Cpu.named("neoverse-n1"), np.random.default_rng(2)
    g = Geometry.of((1, 16, 3, 7), (11, 16, 1, 1))
    form = EpilogueForm(scale=True, dtype="int8", zero=-9, requantise=True, residual=True)
    problem = Problem.of(g, "uint8", x=layout, y=layout, w_dtype="int8", epilogue=form)
    program = jit.prepare(
        find_lowering("im2col").products(problem), Packing.PANEL, dtypes_of(problem), operand_extents(problem), 1 << 24,
        cpu=cpu,
    )  # fmt: skip
    assert isinstance(program, jit.JitProgram), program
    x, w = (
        rng.integers(0, 256, problem.shape("x")).astype("u1"),
        rng.integers(-128, 128, g.w_shape).astype("i1"),
    )
    rows = {name: rng.uniform(0.4, 1.2, g.O).astype(np.float32) for name in ("factor", "offset")}
    rows |= {"scale": np.full(g.O, 0.01, np.float32), "addition": np.array([0.7, -0.45, 3.5], np.float32)}
    residual = rng.integers(-128, 128, problem.shape("y")).astype("i1")
    y = Job(program, cpu).run(x=x, w=w, residual=residual, y=np.zeros(problem.shape("y"), "i1"), **rows)
    once = convmat.conv(x, w, scale=0.01, out_dtype="int8", y_zero_point=-9, layout=layout, engine="blas")
    shape = (-1, 1, 1) if layout == "NCHW" else (-1,)
    again = requantise(once, -9, rows["factor"].reshape(shape), rows["offset"].reshape(shape))
    by, with_, add = rows["addition"]
    np.testing.assert_array_equal(y, weigh(again, residual, by, with_, add, np.dtype(np.int8)))
