"""`convmat choices`: what tuning has found on this CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convmat.cli import screen

commands = typer.Typer(
    no_args_is_help=True, help="What tuning has found on this CPU: shown, taken elsewhere, or forgotten."
)

Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@commands.command()
def show(json: Json = False) -> None:
    """List the problems that were measured, with the quickest way of each, and say where the file is.

    Examples:

      convmat choices show

      convmat choices show --json
    """
    from convmat.planner import choices
    from convmat.planner.units import format_seconds

    about, known = choices.describe_store(), choices.all_entries()
    if json:
        entries = {name: {"when": each.when, "seconds": dict(each.seconds)} for name, each in known.items()}
        screen.as_json({**about, "choices": entries})
        return
    console = screen.console()
    for name, entry in known.items():
        console.print(name.partition(" #")[0], markup=False, style="bold")
        timed = {way: taken for way, taken in entry.seconds.items() if taken is not None}
        best = min(timed, key=lambda way: timed[way], default=None)
        if best is not None:
            console.print(
                f"  {best}: {format_seconds(timed[best])}, the quickest of {len(timed)}; {entry.when[:10]}",
                markup=False,
            )
    console.print(f"{len(known)} choice{'s' * (len(known) != 1)}", markup=False)
    console.print(str(about["path"]), markup=False, soft_wrap=True)
    if about["refused"]:
        console.print(f"not used: {about['refused']}", markup=False, style="yellow")


@commands.command(name="export")
def export(
    path: Annotated[Path, typer.Argument(help="The file to write.", show_default=False)], json: Json = False
) -> None:
    """Write the choices to a file, for another machine with this CPU.

    Examples:

      convmat choices export choices.json
    """
    import convmat

    _tell(convmat.export_choices(path), "written", json)


@commands.command(name="import")
def import_(
    path: Annotated[Path, typer.Argument(help="A file that export wrote.", show_default=False)],
    json: Json = False,
) -> None:
    """Take over the choices of a file; of two for one problem the later stays.

    Examples:

      convmat choices import choices.json
    """
    import convmat

    _tell(convmat.import_choices(path), "read", json)


@commands.command()
def clear(json: Json = False) -> None:
    """Forget all choices of this CPU: plans choose by prediction until something is tuned again.

    Examples:

      convmat choices clear
    """
    import convmat

    _tell(convmat.forget_choices(), "forgotten", json)


def _tell(count: int, done: str, json: bool) -> None:
    if json:
        screen.as_json({done: count})
    else:
        typer.echo(f"{count} choice{'s' * (count != 1)} {done}")
