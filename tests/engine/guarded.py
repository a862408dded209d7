"""Runs random problems with every array against an unreadable page: in a process of its own, which a fault ends.

    python -m tests.engine.guarded SEED GEOMETRIES EXTENTS TARGET        python -m tests.engine.guarded fault NAME

x, w, bias, residual, out, packed weights and scratch end right before such a page, and in a second run begin right
behind one. What else is on their pages is NaN (all bits set), and must still be so afterwards; inputs may not even be
written. Each problem is printed before it runs, so that the last line names the one that failed.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from convmat.engine import jit
from convmat.engine.cpu import Cpu
from convmat.engine.kernels import epilogue
from convmat.engine.kernels.direct import plan as direct_plan
from convmat.engine.kernels.panel import pack_b
from convmat.engine.kernels.panel import plan as panel_plan
from convmat.engine.runtime import buffers, preloaded
from convmat.geometry import Geometry
from convmat.problem import EpilogueForm
from convmat.product import View
from tests.engine.drawn import Drawn, Kind, by_generator, exact, kind, programs, sized, views
from tests.support import Array, agree, tolerance

PAGE = mmap.PAGESIZE
NOTHING, READ, WRITE = 0, 1, 3
libc = ctypes.CDLL(None, use_errno=True)


class Fenced:
    """Memory for an array between two unreadable pages, touching the one behind it, or the one before it."""

    behind = True

    def __init__(self, count: int, align: int = 1) -> None:
        size = max(-(-count // PAGE), 1) * PAGE
        self.memory = mmap.mmap(-1, size + 2 * PAGE)
        self.bytes = np.frombuffer(self.memory, np.uint8)[PAGE : PAGE + size]
        self.bytes[...] = 0xFF
        self.start = (size - count) // align * align if self.behind else 0
        self.stop = self.start + count
        self._protect(0, PAGE, NOTHING)
        self._protect(PAGE + size, PAGE, NOTHING)

    @classmethod
    def holding(cls, array: Array) -> Fenced:
        """With a copy of an array in it."""
        made = cls(array.nbytes)
        made.bytes[made.start : made.stop] = np.frombuffer(array.tobytes(), np.uint8)
        return made

    def array(self, like: Array) -> Array:
        """The memory as an array of that type and shape."""
        found: Array = self.bytes[self.start : self.stop].view(like.dtype).reshape(like.shape)
        return found

    def freeze(self) -> None:
        """Nothing may be written from now on."""
        self._protect(PAGE, len(self.bytes), READ)

    def untouched(self) -> bool:
        """Whether what lies beside the array is as it was."""
        return bool((self.bytes[: self.start] == 0xFF).all() and (self.bytes[self.stop :] == 0xFF).all())

    def _protect(self, start: int, count: int, how: int) -> None:
        at = ctypes.addressof(ctypes.c_char.from_buffer(self.memory)) + start
        if libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(count), how):
            raise OSError(ctypes.get_errno(), "mprotect")


def scratch(count: int) -> Array:
    """What the engine asks for, fenced; it begins on a cache line where it is not to begin behind a page."""
    made = Fenced(count, 64)
    return made.bytes[made.start : made.stop]


def run(
    drawn: Drawn,
    seed: int,
    threads: int,
    only: str = "",
    sides: tuple[bool, ...] = (True, False),
    bindings: tuple[bool, ...] = (False, True),
) -> int:
    """Every program for a problem, once with pages behind the arrays and once with pages before; how many ran.

    `only`: the module whose steps a program must have one of. `bindings`: whether its weights are bound.
    """
    data, ran = exact(drawn, seed), 0
    largest = float(np.max(abs(data.first), initial=0)) * float(np.max(abs(data.second), initial=0))
    given = {"x": data.first, "w": data.second, "bias": data.bias, "residual": data.residual}
    for bound in bindings:
        problem = drawn.problem(threads=threads, reuse_weights=bound)
        for name, program in programs(problem):
            if only and not any(type(step).__module__ == only for step in program.steps):
                continue
            for Fenced.behind in sides:
                inputs = {n: Fenced.holding(a) for n, a in given.items() if a is not None}
                out = Fenced.holding(data.result if data.residual is None else data.residual)
                arrays = {n: fence.array(a) for n, fence in inputs.items() if (a := given[n]) is not None}
                y = arrays["y"] = out.array(data.result)
                if data.residual is None:
                    y[...] = 99
                elif seed % 2:
                    arrays["residual"] = y
                for fence in inputs.values():
                    fence.freeze()
                operands = views(problem, arrays)
                program.run(operands, program.bind(operands["w"]) if bound else None, threads)
                side = "behind" if Fenced.behind else "before"
                where = f"{name}, {'bound' if bound else 'not bound'}, pages {side} the arrays"
                agree(y, data.result, tolerance(problem, name), where, largest)
                assert all(fence.untouched() for fence in (*inputs.values(), out)), where
                ran += 1
    return ran


def draws(seed: int, extents: int) -> Iterator[tuple[Drawn, int]]:
    """Problems without end, of kinds at so many extents each, and for how many threads."""
    pick = by_generator(np.random.default_rng(seed))
    while True:
        made = kind(pick)
        for _ in range(extents):
            drawn = sized(made, pick)
            yield drawn, pick((1, 1, 2, 3))


SEEDS, GEOMETRIES, EXTENTS = range(4), 128, 22
"""Of quick runs: of each kind many extents, since a kernel takes as long to make as a hundred runs of it."""


def quick_kinds() -> list[Kind]:
    """The kinds of quick runs: others that try random problems find their kernels there."""
    drawn = (made.kind for seed in SEEDS for made, _ in itertools.islice(draws(seed, EXTENTS), GEOMETRIES))
    return list(dict.fromkeys(drawn))


def random_problems(seed: int, geometries: int, extents: int) -> None:
    """So many different geometries; every second with its weights bound."""
    ran, seen = 0, set[Geometry]()
    for number, (drawn, threads) in enumerate(draws(seed, extents)):
        if len(seen) == geometries:
            print(f"done: {len(seen)} geometries, {ran} runs", flush=True)
            return
        turn = number % extents
        print(f"{number // extents}.{turn} threads {threads}: {drawn}", flush=True)
        some = run(drawn, turn, threads, bindings=(turn % 2 == 1,))
        ran += some
        if some:
            seen.add(drawn.geometry)


def put_into(module: Any, **made: Any) -> Any:
    """Replace names of a module; what the first one stood for."""
    before = getattr(module, next(iter(made)), None)
    for name, each in made.items():
        setattr(module, name, each)
    return before


def origin_moved(module: Any, operand: str, by: int) -> None:
    """Make a kernel's operand begin some elements beside where it does."""

    def moved(view: View, shape: tuple[int, ...], item: int) -> int:
        return int(plain(view, shape, item)) + (by * item if view.source == operand else 0)

    plain = put_into(module, origin=moved)


def limit_beyond() -> None:
    """Let every check of a position pass one element too many."""
    below: Any = put_into(pack_b, below=lambda position, limit: below(position, limit + 1))


def mask_beyond() -> None:
    """Store one lane too many of each line."""
    prefix: Any = put_into(epilogue, prefix_mask=lambda lanes, count: prefix(lanes, count + 1))


ROOMS = {"panel": panel_plan, "direct": direct_plan}
FAULTS = {
    f"{operand}{by:+} {room}": (origin_moved, (module, operand, by))
    for room, module in ROOMS.items()
    for operand in ("x", "w", "y")
    for by in (1, -1)
} | {"limit panel": (limit_beyond, ()), "mask panel": (mask_beyond, ())}
"""Ways to make kernels wrong on purpose, by what and whose kernels."""


def faulty(name: str) -> None:
    """One plain problem with kernels that are wrong on purpose."""
    change, arguments = FAULTS[name]
    change(*arguments)
    version = os.urandom(8).hex()
    put_into(preloaded, version=lambda: version)  # nobody else is to find these kernels
    room = name.split()[1]
    c, o, G = (5, 11, 1) if room == "panel" else (1, 1, 5)
    plain = Kind(
        F=(3, 3), s=(1, 1), d=(1, 1), e=(1, 1), lo=(1, 1), c=c, o=o, G=G, dtype="float32", x="NCHW", y="NCHW",
        transposed=False, direction="forward", epilogue=EpilogueForm(),
    )  # fmt: skip
    print(f"{name}: {plain}", flush=True)
    assert run(Drawn(plain, 1, (6, 19), (1, 1)), 0, 1, ROOMS[room].__name__, ("-1" not in name,))
    print("done: nothing was noticed", flush=True)


def main(arguments: list[str]) -> None:
    """Fence the engine's own memory, then run."""
    put_into(buffers, take=scratch, give=lambda memory: None)
    put_into(jit, _aligned=scratch)
    if arguments[0] == "fault":
        faulty(arguments[1])
        return
    seed, geometries, extents, target = arguments
    if target != "native":
        put_into(jit, host=lambda: Cpu.named(target))
    random_problems(int(seed), int(geometries), int(extents))


if __name__ == "__main__":
    main(sys.argv[1:])
