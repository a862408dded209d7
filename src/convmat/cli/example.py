"""`convmat example`: a convolution worked out number by number."""

from __future__ import annotations

from typing import Annotated

import typer

from convmat.cli import screen


def example(
    json: Annotated[bool, typer.Option("--json", help="Print every number as JSON.")] = False,
) -> None:
    """Work out one small convolution, number by number, in every way there is.

    Input 3x3x3, kernel 3x2x2, output 1x2x2: the flattened kernel, the unrolled input with the origin of each element,
    their product, and the same output by the definition. Colours are channels.

    Examples:

      convmat example                the page

      convmat example --json         the same numbers for a program
    """
    from convmat.explain.story.example import work_out

    found = work_out()
    if json:
        screen.as_json(found.as_dict())
        return
    from convmat.explain.terminal import example_report

    example_report.show(found, screen.console())
