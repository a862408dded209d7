"""`convmat cache`: the compiled kernels that are kept on disk."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from convmat.cli import screen

commands = typer.Typer(
    no_args_is_help=True, help="The compiled kernels on disk: how many there are, or away with them."
)


@commands.command()
def info(
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Say where compiled kernels are kept, how many, and how large they are.

    Examples:

      convmat cache info

      convmat cache info --json
    """
    from convmat.engine import jit_cache
    from convmat.planner.units import format_bytes

    found, recorded = jit_cache.disk().info(), jit_cache.recordings().info()
    if json:
        recordings = {"files": recorded.files, "bytes": recorded.bytes, "limit": recorded.limit}
        screen.as_json({**asdict(found), "path": str(found.path), "recordings": recordings})
        return
    console = screen.console()
    console.print(
        f"{found.files} kernel{'s' * (found.files != 1)}, {format_bytes(found.bytes)}", markup=False
    )
    console.print(f"kept up to {format_bytes(found.limit)}; the longest unused go first", markup=False)
    console.print(
        f"{format_bytes(recorded.bytes)} that networks recorded, up to {format_bytes(recorded.limit)}",
        markup=False,
    )
    console.print(str(found.path), markup=False, soft_wrap=True)
    if found.refused:
        console.print(f"not used: {found.refused}", markup=False, style="yellow")


@commands.command()
def clear(
    json: Annotated[bool, typer.Option("--json", help="Print how many there were as JSON.")] = False,
) -> None:
    """Delete the compiled kernels on disk, and what networks recorded; both are made again when they are needed.

    Examples:

      convmat cache clear
    """
    from convmat.engine import jit_cache

    jit_cache.recordings().clear()
    deleted = jit_cache.disk().clear()
    if json:
        screen.as_json({"deleted": deleted})
    else:
        typer.echo(f"{deleted} kernel{'s' * (deleted != 1)} deleted")
