"""Digests of the kernels that layers and networks ask for, so that `diff` can compare two commits.

    text       of the LLVM IR of a kernel; what a change of names or of layout must leave alone
    arguments  of all that a call hands to it: extents, strides and tables (addresses left out), tasks, bytes, effort

A line for each kernel of every layer, its two gradients, each lowering and packing that the jit engine takes, in both
layouts, on AVX-512 and on AVX2; nothing is compiled or run. Some minutes of one core, most of them writing texts.

With `--networks` a line for each kernel that a network asks for on this CPU, its text alone.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

import convmat
from benchmarks.netjobs import NETS, written
from convmat.cases import LAYERS, Case, select_layers
from convmat.engine import Cpu, jit_cache, kernel_text
from convmat.engine.jit import prepare
from convmat.engine.kernels.sweeps.base import SweepRecipe
from convmat.errors import EngineError
from convmat.lowering import ALL
from convmat.network.input_shapes import declared_specs
from convmat.planner.candidates import byte_limit, dtypes_of, operand_extents
from convmat.problem import Problem

CPUS = ("x86-64-v4", "x86-64-v3")
LAYOUTS = ("NCHW", "NHWC")
THREADS = (1, 2)
DIGITS = 16

LARGEST = 1 << 40
"""No extent, stride or count is larger; an address of a table is."""


def lines(layers: Sequence[Case], cpus: Sequence[str] = CPUS) -> Iterator[str]:
    """One for each kernel: digest of its text, of its arguments, then CPU, threads, layer, layout, gradient and way."""
    texts: dict[Any, str] = {}
    for name in cpus:
        cpu = Cpu.named(name)
        for what, problem in _problems(layers):
            for way, step in _steps(problem, cpu):
                key = (name, step.recipe)
                if key not in texts:
                    texts[key] = _digest(kernel_text(step.recipe, cpu).encode())
                yield f"{texts[key]} {_arguments(step)} {name} {what} {way}"


def _problems(layers: Sequence[Case]) -> Iterator[tuple[str, Problem]]:
    """Every layer in both layouts, its gradients too, for one thread and for two."""
    for layer, layout, threads in itertools.product(layers, LAYOUTS, THREADS):
        forward = Problem.of(layer.geometry, x=layout, y=layout, threads=threads)
        gradients = {"forward": forward, "input": forward.grad_input(), "weight": forward.grad_weight()}
        for direction, problem in gradients.items():
            yield f"{threads} {layer.name!r} {layout} {direction}", problem


def _steps(problem: Problem, cpu: Cpu) -> Iterator[tuple[str, Any]]:
    """Every plan of a kernel that the jit engine makes for a problem: the way it belongs to and its place there."""
    for lowering in ALL:
        if lowering.refuses(problem) is not None:
            continue
        products = lowering.products(problem)
        for packing in lowering.packings:
            program = prepare(
                products,
                packing,
                dtypes_of(problem),
                operand_extents(problem),
                byte_limit(problem),
                threads=problem.threads,
                cpu=cpu,
            )
            if not isinstance(program, str):
                for number, step in enumerate(program.steps):
                    yield f"{lowering.name}, {packing.value}: {number}", step


def _arguments(step: Any) -> str:
    """Digest of what a call hands to a kernel: words in their order, tables, and totals."""
    words = np.frombuffer(step.template, np.int64)
    told = [np.where(np.abs(words) > LARGEST, 0, words).tobytes()]
    told += [table.tobytes() for _, table in sorted(step.tables().items())]
    totals = (step.tasks, step.workspace, step.weight_tasks, step.weight_bytes, sorted(step.origin.items()))
    told.append(repr((totals, astuple(step.effort))).encode())
    return _digest(b"".join(told))


def network_lines(names: Sequence[str]) -> Iterator[str]:
    """One for each kernel that networks ask for, in that order: digest of its text, network, number."""
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            asked: dict[Any, Cpu] = {}
            with mock.patch.object(jit_cache, "load", _answer_unmade(asked)), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that NumPy would compute in place of what is not compiled
                net = convmat.load(written(name, Path(folder)), deterministic=True)
                net.program(declared_specs(net.graph, "kernel_texts"))
            for number, (recipe, cpu) in enumerate(asked.items()):
                yield f"{_digest(kernel_text(recipe, cpu).encode())} {name} {number}"


def _answer_unmade(asked: dict[Any, Cpu]) -> Callable[..., list[Any]]:
    """What stands for the loading of kernels while networks are prepared: it notes them, and makes none.

    Sweeps are said to be there, since what is woven of them is asked for then. Products are not, or weights would be
    packed.
    """
    load = jit_cache.load

    def note(kernels: Sequence[Any], cpu: Cpu, *text: Any) -> list[Any]:
        if all(isinstance(each, str) for each in kernels):  # micro-benchmarks
            return load(kernels, cpu, *text)
        asked.update(dict.fromkeys(kernels, cpu))
        if not all(isinstance(each, SweepRecipe) for each in kernels):
            raise EngineError("kernel_texts: nothing is compiled")
        return [SimpleNamespace(symbols=defaultdict(int)) for _ in kernels]

    return note


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def main() -> None:
    """Print the lines of the layers or networks that the command line names, by default of all."""
    command = argparse.ArgumentParser(description="Digests of the kernels that layers and networks ask for.")
    command.add_argument(
        "wanted", nargs="*", help="layers by number, range or part of the name; networks by name"
    )
    command.add_argument("--networks", action="store_true", help="networks instead of layers, on this CPU")
    command.add_argument("--cpu", choices=CPUS, action="append", help="by default both")
    given = command.parse_args()
    if given.networks:
        for line in network_lines(given.wanted or list(NETS)):
            print(line, flush=True)
        return
    wanted = set(select_layers(given.wanted))
    for line in lines([each for each in LAYERS if each.name in wanted], given.cpu or CPUS):
        print(line, flush=True)


if __name__ == "__main__":
    main()
