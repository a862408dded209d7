"""`convmat explain`: a convolution as a page to step through."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from convmat.cli import options, parse, screen
from convmat.cli.draw import report
from convmat.errors import PlanError

PAGE = "The page"


def explain(
    x: Annotated[
        str | None,
        typer.Argument(help="Shape of the input, BxCxI: 1x3x3x3, or a .npy file of it.", show_default=False),
    ] = None,
    w: Annotated[
        str | None,
        typer.Argument(
            help="Shape of the weights, Ox(C/groups)xF: 1x3x2x2, or a .npy file of them.", show_default=False
        ),
    ] = None,
    example: options.Example = False,
    stride: options.Stride = "1",
    padding: options.Padding = "0",
    dilation: options.Dilation = "1",
    groups: options.Groups = 1,
    dtype: options.Counted = "float32",
    output: Annotated[
        str, typer.Option("--output", "-o", help="The file to write.", rich_help_panel=PAGE)
    ] = "convolution.html",
    open_: Annotated[
        bool, typer.Option("--open", help="Open it in the browser.", rich_help_panel=PAGE)
    ] = False,
    direction: Annotated[
        str,
        typer.Option(help="Opens with forward, or the gradient in input or weight.", rich_help_panel=PAGE),
    ] = "forward",
    lowering: Annotated[
        str, typer.Option(help="Opens with a way: im2col, mec, winograd 2 and so on.", rich_help_panel=PAGE)
    ] = "",
    theme: Annotated[
        str, typer.Option(help="light or dark; otherwise as the system.", rich_help_panel=PAGE)
    ] = "",
    title: Annotated[str, typer.Option(help="Its heading.", rich_help_panel=PAGE)] = "",
    json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write a page to step through a convolution: one HTML file that needs no network.

    Step, play, drag the time line; hover an element to see where it belongs; change shapes with sliders; switch
    between the ways to take the product, and between forward and the gradients.

    Examples:

      convmat explain --example --open

      convmat explain 1x3x3x3 1x3x2x2 --open

      convmat explain 1x64x56x56 128x64x3x3 -s 2 -p 1 -o layer.html --lowering mec

      convmat explain 1x2x6x6 1x2x3x3 --lowering "winograd 2" --open

      convmat explain 1x4x5x5 4x2x3x3 -p 1 -g 2 --direction input --theme dark

      convmat explain image.npy filter.npy --open               (your own numbers)
    """
    import convmat

    how: dict[str, Any] = {
        "title": title or None,
        "direction": direction,
        "lowering": lowering or None,
        "theme": theme or None,
    }
    if example == (x is not None) or (x is None) != (w is None):
        raise PlanError(
            f"explain: it needs the shapes of input and weights, or --example\n"
            f"  given: {' '.join(word for word in (x, w) if word) or 'neither'}{', --example' if example else ''}\n"
            f"  e.g. convmat explain 1x3x3x3 1x3x2x2"
        )
    with screen.progress("writing the page"):
        if x is None or w is None:
            from convmat.explain.webpage.page import page_example

            made = page_example(output, **how)
        else:
            (x_shape, x_array), (w_shape, w_array) = parse.operand("x", x), parse.operand("w", w)
            given = options.keywords(
                stride=stride, padding=padding, dilation=dilation, groups=groups, dtype=dtype
            )
            plan = convmat.plan(x_shape, w_shape, **given)
            made = plan.page(output, x=x_array, w=w_array, **how)
    report(made, json)
    if open_:
        import webbrowser

        if not webbrowser.open(made.resolve().as_uri()):
            screen.complain(f"explain: no browser could be opened\n  {made} is written\n  open it by hand")
