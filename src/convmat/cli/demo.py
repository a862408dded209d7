"""`convmat demo`: what `make run` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convmat.cli import screen

OUTPUT = Path("out/demo.png")


def demo(
    image: Annotated[
        Path | None,
        typer.Option("--image", "-i", help="A picture to convolve instead of the shipped photograph."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The contact sheet, a PNG.")] = OUTPUT,
    json: Annotated[bool, typer.Option("--json", help="Print plans and figures as JSON.")] = False,
) -> None:
    """Convolve a photograph with 64 filters and with classical ones, in every way there is, and draw the results.

    Each bank is one convolution, and each convolution one matrix product. A table says what each way of computing
    the first took in time and memory, measured, beside what the plan expected. Takes about ten seconds.

    Examples:

      convmat demo

      convmat demo --image holiday.jpg --output out/holiday.png

      convmat demo --json
    """
    from convmat.explain import demo as demonstration
    from convmat.explain import files, photo

    files.needs("PIL", "demo", "the contact sheet")
    with screen.progress("reading the picture") as tell:
        picture = photo.shipped() if image is None else photo.read(image)
        output.parent.mkdir(parents=True, exist_ok=True)
        # Opened first: better refused now than after all the work.
        with files.replacing(output, "demo") as part:
            found = demonstration.run(picture, tell=tell)
            tell("drawing the contact sheet")
            demonstration.write(found, part)
    if json:
        screen.as_json({**found.as_dict(), "sheet": str(output)})
        return
    from convmat.explain import demo_report

    demo_report.show(found, output, screen.console())
