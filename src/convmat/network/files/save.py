"""Saving a network with what it was prepared by, and preparing it again from that.

save       the choices of its plans and the kernels that it runs are noted while it is prepared and called
unpacked   its machine code joins that of this process, if it is trusted and made for this CPU and version
           and its plans follow the choices: nothing is weighed, nothing measured
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path

from ...engine import host, jit_cache, kernel_text, microbench, preloaded, thread_pool_ir
from ...errors import EngineError
from ...planner import Record
from ..graph import Spec
from ..ops import Options
from ..rewriting.rewrite import choose_rules
from .archive import is_saved, open_saved, write_archive
from .contents import Code, Contents


def save(
    path: Path,
    contents: Contents,
    run: Callable[[Mapping[str, Spec], Record], object],
    wanted: Sequence[Mapping[str, Spec]],
) -> None:
    """Write a network with the choices and kernels of `run` for each of these inputs. Raises NetworkError.

    Plans follow the choices that the contents have already.
    """
    record = Record(contents.choices)
    for specs in wanted:
        run(specs, record)
    code = _code(record.kernels()) if wanted else None
    write_archive(path, replace(contents, choices=record.choices, code=code))


def _code(kernels: Sequence[preloaded.Kernel]) -> Code | None:
    """The object files of kernels, of those that share them out to threads, and of those that measure this machine."""
    cpu = host()
    named = {preloaded.kernel_name(each, cpu): each for each in kernels}
    texts = {name: kernel_text(each, cpu) for name, each in sorted(named.items())}
    texts |= {
        preloaded.kernel_name(each, cpu): each
        for each in (thread_pool_ir.pool_ir(cpu.arch), microbench.microbench_ir(cpu))
    }
    try:
        made = jit_cache.object_files([*texts.values()], cpu)
    except EngineError:  # where nothing can be compiled, nothing was: the blas engine runs, here as there
        return None
    return Code(cpu.key, preloaded.version(), dict(zip(texts, made, strict=True)))


def unpack(source: str | os.PathLike[str] | bytes, trust: bool) -> Contents:
    """What a file holds; its machine code is ready to run where it may. Raises NetworkError."""
    found = open_saved(source)
    choose_rules(found.rules)
    code = found.code
    if code is None:
        return found
    reason = None
    if not trust:
        reason = "trust=True was not given"
    elif code.cpu != host().key:
        reason = f"it is for another CPU, {code.cpu}; this one is {host().key}"
    elif code.version != preloaded.version():
        reason = "another version of convmat made it"
    if reason is None:
        preloaded.add(code.objects)
    else:
        name = "the network" if isinstance(source, bytes) else Path(source).name
        warnings.warn(
            f"load: {name}: its machine code is not run: {reason}\n  its kernels are compiled here",
            RuntimeWarning,
            stacklevel=3,
        )
    return found


def merge_saved_options(own: Options, given: Options) -> Options:
    """What a network was saved with, under what is given now and not left at its default."""
    said = {each.name: getattr(given, each.name) for each in fields(given)}
    return replace(own, **{name: value for name, value in said.items() if value != getattr(Options(), name)})


__all__ = ["is_saved", "merge_saved_options", "save", "unpack"]
