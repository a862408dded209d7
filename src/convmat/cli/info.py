"""`convmat info`: what convmat knows about this machine, and which versions it runs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from convmat.cli import screen

PACKAGES = ("numpy", "llvmlite", "threadpoolctl", "platformdirs", "typer", "rich", "pillow", "jinja2", "onnx", "scipy",
            "dask", "ml_dtypes")  # fmt: skip
"""Whose versions are told: the core's four, then those of the extras, where they are installed."""


def info(
    again: Annotated[
        bool, typer.Option("--again", help="Measure this machine's rates again instead of remembering them.")
    ] = False,
    measure: Annotated[bool, typer.Option(help="Tell rates at all.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the facts as JSON.")] = False,
) -> None:
    """Show CPU, caches, vector width, cores allowed, BLAS, versions, and the rates this machine reaches.

    Rates are measured once, in a second or two, and kept: plans predict times with them. On a busy machine they come
    out too low; measure --again when it is quiet.

    Examples:

      convmat info

      convmat info --again

      convmat info --no-measure --json
    """
    with screen.progress("looking at the machine") as tell:
        found = gather_facts(measure, again, tell)
    if json:
        screen.as_json(found)
    else:
        _show(found)


def gather_facts(measure: bool, again: bool, tell: Callable[[str], object]) -> dict[str, Any]:
    """Everything, in lists, strings and numbers: bytes, FLOP/s, bytes/s."""
    import os
    import platform
    from importlib import metadata

    import convmat
    from convmat import engine
    from convmat.engine import blas_threads, jit_cache
    from convmat.errors import EngineError

    host = engine.host()
    threads = int(convmat.threads())
    versions = {"convmat": convmat.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    found: dict[str, Any] = {
        "cpu": {
            "model": host.model,
            "arch": host.arch,
            "vector_bits": host.vector_bytes * 8,
            "vector_registers": host.vector_registers,
            "fma": host.fma,
            "l1_bytes": host.l1,
            "l2_bytes": host.l2,
            "l3_bytes": host.l3,
        },
        "cores": {"allowed": engine.usable_cores(), "of": os.cpu_count(), "threads": threads},
        "blas": [],
        "versions": versions,
        "cache": str(jit_cache.disk().path),
        "rates": [],
        "remarks": [],
    }
    found["blas"] = blas_threads.describe_libraries()
    if not measure:
        return found
    if again:
        engine.remeasure()
    for n in sorted({1, threads}):
        tell(f"measuring with {n} thread{'s' * (n > 1)}")
        rates: dict[str, Any] = {"threads": n}
        blas = engine.machine(n)
        rates |= {"blas_flops": blas.blas_flops, "copy_bytes": blas.copy_bandwidth}
        try:
            peaks = engine.peaks(n)
        except EngineError as error:
            found["remarks"].append(f"no kernels can be run here: {str(error).splitlines()[0]}")
        else:
            rates |= {
                "fma_flops": peaks.fma_flops,
                "dot_ops": peaks.dot_ops,
                **{name: rate for name in NARROW if (rate := getattr(peaks, name))},
                "l1_read_bytes": peaks.l1_bandwidth,
                "l2_read_bytes": peaks.l2_bandwidth,
                "l3_read_bytes": peaks.l3_bandwidth,
                "memory_read_bytes": peaks.memory_bandwidth,
            }
        found["rates"].append(rates)
    return found


NARROW = ("tile_ops", "bf16_flops", "tile_flops")
"""Rates of units that a CPU may lack."""

RATES = {
    "fma_flops": "FMA peak, float32",
    "dot_ops": "dot products, 8-bit integers",
    "tile_ops": "tiles (AMX), 8-bit integers",
    "bf16_flops": "dot products, bfloat16",
    "tile_flops": "tiles (AMX), bfloat16",
    "blas_flops": "NumPy's product, 512x512x512",
    "l1_read_bytes": "reading from L1",
    "l2_read_bytes": "reading from L2",
    "l3_read_bytes": "reading from L3",
    "memory_read_bytes": "reading from memory",
    "copy_bytes": "NumPy's copy, in cache, one thread",
}
"""What each rate is called."""

UNITS = {"flops": "FLOP", "ops": "OP", "bytes": "bytes"}
"""Units of rates a second, by how their names end."""


def _show(found: dict[str, Any]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from convmat.planner.units import format_bytes

    console, cpu, cores = screen.console(), found["cpu"], found["cores"]
    vectors = (
        f"{cpu['vector_registers']} of {cpu['vector_bits']} bits, {'with' if cpu['fma'] else 'without'} FMA"
    )
    caches = ", ".join(f"L{level} {format_bytes(cpu[f'l{level}_bytes'])}" for level in (1, 2, 3))
    lines = {
        "CPU": f"{cpu['model']} ({cpu['arch']})",
        "vectors": vectors,
        "caches": f"{caches}, as one core sees them",
        "cores": f"{cores['allowed']} allowed of {cores['of']}; convmat uses {cores['threads']}",
        "BLAS": ", ".join(found["blas"]) or "none that can be asked",
        "versions": ", ".join(f"{name} {version}" for name, version in found["versions"].items()),
        "kernels": found["cache"],
    }
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, line in lines.items():
        grid.add_row(name, Text(line))
    console.print(grid)
    if found["rates"]:
        table = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("measured, in billions a second")
        for rates in found["rates"]:
            table.add_column(
                f"{rates['threads']} thread{'s' * (rates['threads'] > 1)}", justify="right", no_wrap=True
            )
        for name, text in RATES.items():
            if name in found["rates"][0]:
                unit = next(text for end, text in UNITS.items() if name.endswith(end))
                table.add_row(text, *(f"{rates[name] / 1e9:.1f} {unit}" for rates in found["rates"]))
        console.print(table)
    for remark in found["remarks"]:
        console.print(remark, style="yellow", markup=False)
