"""`convmat conv`: a convolution from file to file, within a number of bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from convmat.cli import options, parse, screen

MEMORY = "Larger than memory"
"""The panel of options in the help."""

Memory = Annotated[str, typer.Option(help="Bytes that the process may have: 4GiB.", rich_help_panel=MEMORY)]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where a run was stopped.", rich_help_panel=MEMORY)
]
Scheduler = Annotated[
    str, typer.Option(help="A Dask scheduler whose workers do it: tcp://..", rich_help_panel=MEMORY)
]


def conv(
    x: Annotated[
        Path, typer.Argument(help="The input: .npy, .zarr, .tif; (B, C, *I) or (C, *I).", show_default=False)
    ],
    w: Annotated[Path, typer.Argument(help="The weights: .npy, (O, C/groups, *F).", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Where to: .npy or .zarr.", show_default=False)],
    stride: options.Stride = "1",
    padding: options.Padding = "0",
    dilation: options.Dilation = "1",
    groups: options.Groups = 1,
    padding_mode: options.PaddingMode = "zeros",
    activation: options.Activation = "",
    bias: Annotated[
        Path | None, typer.Option(help="A bias: .npy, (O,).", rich_help_panel=options.ARRAYS)
    ] = None,
    layout: options.Layout = "NCHW",
    plain: Annotated[
        bool,
        typer.Option("--plain", help="Both have spatial axes alone.", rich_help_panel=options.ARRAYS),
    ] = False,
    memory: Memory = "2GiB",
    resume: Resume = False,
    scheduler: Scheduler = "",
    exact: options.Exact = False,
    lowering: options.Lowering = "",
    threads: options.Threads = None,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Convolve the array in a file, however large, block by block into another file.

    The result is that of convolving it in memory, bit by bit. A run that was stopped, by Ctrl-C or by force, leaves
    OUT.part and OUT.manifest behind, and goes on with --resume.

    Examples:

      convmat conv big.zarr w.npy out.zarr --padding 1 --memory 2GiB

      convmat conv volume.npy w.npy out.npy --plain -p 1 --memory 1GiB      (x: DxHxW, w: 3x3x3)

      convmat conv slide.tif w.npy out.zarr --layout NHWC --stride 2

      convmat conv big.zarr w.npy out.zarr --padding 1 --resume
    """
    from convmat import chunks

    given = options.keywords(
        stride=stride, padding=padding, dilation=dilation, groups=groups, padding_mode=padding_mode,
        activation=activation, layout=layout, lowering=lowering, exact=exact, threads=threads,
    )  # fmt: skip
    limit = parse.size("memory", memory)
    weights = parse.array("w", str(w))
    added = None if bias is None else parse.array("bias", str(bias))
    with screen.progress("planning") as tell:
        job = chunks.plan_files(x, weights, added, given, limit, plain=plain)
        done = write_file(job, out, report_time_left(tell), resume=resume, scheduler=scheduler)
    if json:
        screen.as_json({"out": str(out), "shape": list(job.shape), **done.as_dict()})
        return
    typer.echo(f"{done}\nwritten to {out}: {'x'.join(map(str, job.shape))} {job.dtype}")


def write_file(
    job: Any, out: Path, told: Callable[[int, int, float], None], *, resume: bool, scheduler: str
) -> Any:
    """Make the file of a job, and say how to go on where Ctrl-C ends that."""
    from convmat import chunks
    from convmat.chunks.files.manifest import manifest_path

    try:
        return chunks.make_file(job, out, resume=resume, progress=told, scheduler=scheduler or None)
    except KeyboardInterrupt:
        kept = manifest_path(out)
        if not kept.exists():
            raise
        done = len(kept.read_bytes().splitlines()) - 1
        raise KeyboardInterrupt(
            f"interrupted: {done} of {job.count} blocks are done\n  {kept} has them\n"
            f"  the same command with --resume goes on"
        ) from None


def report_time_left(tell: Callable[[str], object]) -> Callable[[int, int, float], None]:
    """What a run is told of its blocks, as a line of text."""

    def progress(done: int, blocks: int, left: float) -> None:
        tell(f"block {done} of {blocks}, {left:,.0f} s left")

    return progress
