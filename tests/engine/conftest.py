"""Runs and reads what the emitter writes, with LLVM in the test process itself."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from convmat.engine.ir.emitter import Module
from convmat.engine.runtime.compiler import generate

CPUS = {"this CPU": ("native", ""), "AVX2": ("x86-64-v3", "")}


def _targets() -> list[str]:
    """Every x86-64 that runs AVX2 runs its code too; other machines try what they are."""
    llvm.initialize_native_target()
    return list(CPUS) if llvm.get_host_cpu_features().get("avx2") else ["this CPU"]


class Compiled:
    """The functions of a module as callables of arrays (their addresses) and integers, giving an int64."""

    def __init__(self, module: Module, cpu: str) -> None:
        name, features = CPUS[cpu]
        self._engine = llvm.create_mcjit_compiler(
            llvm.parse_assembly(""), llvm.Target.from_default_triple().create_target_machine()
        )
        code = generate(str(module), "", name, features, 2)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def __getattr__(self, name: str) -> Callable[..., int]:
        engine = self._engine

        def call(*arguments: Any) -> int:
            address = engine.get_function_address(
                name
            )  # here, so that the code lives as long as the callable
            assert address, name
            types = [ctypes.c_int64] * len(arguments)
            given = [each.ctypes.data if isinstance(each, np.ndarray) else each for each in arguments]
            return int(ctypes.CFUNCTYPE(ctypes.c_int64, *types)(address)(*given))

        return call


@pytest.fixture(params=_targets())
def cpu(request: pytest.FixtureRequest) -> str:
    """This machine as it is, and as if it had no more than AVX2."""
    return str(request.param)


@pytest.fixture
def compiled(cpu: str) -> Callable[[Module], Compiled]:
    """Compiles a module and makes its functions callable."""
    return lambda module: Compiled(module, cpu)


@pytest.fixture
def assembly(cpu: str) -> Callable[[Module], str]:
    """The machine code of a module, as text."""
    name, features = CPUS[cpu]
    return lambda module: generate(str(module), "", name, features, 2, "assembly").decode()


@pytest.fixture
def arm() -> Callable[[Module], str]:
    """The machine code of a module for AArch64, as text."""
    return lambda module: generate(
        str(module), "aarch64-linux-gnu", "neoverse-n1", "", 2, "assembly"
    ).decode()
