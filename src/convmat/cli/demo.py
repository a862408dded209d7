"""`convmat demo`: what `make run` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convmat.cli import screen
from convmat.errors import cannot_write

OUTPUT = Path("out/demo.png")


def demo(
    image: Annotated[
        Path | None,
        typer.Option("--image", "-i", help="A picture to convolve instead of the shipped photograph."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The contact sheet, a PNG.")] = OUTPUT,
    network: Annotated[bool, typer.Option(help="Run the network too.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print plans and figures as JSON.")] = False,
) -> None:
    """Convolve a photograph with 64 filters and with classical ones, in every way there is, and find faces.

    Each bank is one convolution, and each convolution one matrix product. A table says what each way of computing
    the first took in time and memory, measured, beside what the plan expected. Then a real network, CenterFace, looks
    for faces in a second photograph, or in yours; it is fetched the first time. Takes about fifteen seconds.

    Examples:

      convmat demo

      convmat demo --image holiday.jpg --output out/holiday.png

      convmat demo --json
    """
    from convmat.explain import extras
    from convmat.explain.demo import demo as demonstration
    from convmat.explain.demo import faces, photo
    from convmat.whole_files import replace_when_whole

    extras.require_module("PIL", "demo", "the contact sheet")
    with screen.progress("reading the picture") as tell:
        picture = photo.read_shipped() if image is None else photo.read(image)
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write("demo", output, error) from None
        # Opened first: better refused now than after all the work.
        with replace_when_whole(output, "demo") as part:
            found = demonstration.run(picture, tell=tell)
            tell("drawing the contact sheet")
            demonstration.write(found, part)
        seen = faces.try_faces(photo.read_shipped(faces.PORTRAIT) if image is None else picture,
                             output.with_name("faces.png"), tell=tell) if network else None  # fmt: skip
    if json:
        more = seen.as_dict() if seen else None
        screen.as_json({**found.as_dict(), "sheet": str(output), "network": more})
        return
    from convmat.explain.demo import demo_report

    demo_report.show(found, output, screen.console())
    if seen:
        typer.echo(f"\n{seen}")
