"""`convmat draw`: a convolution as a picture or an animation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from convmat.cli import options, parse, screen
from convmat.errors import PlanError

PICTURE = "The picture"
"""The panel of its own options in the help."""


def draw(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[X W] FILE",
            help="Shapes of input and weights, or .npy files with their numbers, and a file that ends in .svg, .png "
            "or .gif (the animation).",
            show_default=False,
        ),
    ],
    example: options.Example = False,
    stride: options.Stride = "1",
    padding: options.Padding = "0",
    dilation: options.Dilation = "1",
    groups: options.Groups = 1,
    dtype: options.Counted = "float32",
    dark: Annotated[bool, typer.Option("--dark", help="A dark ground.", rich_help_panel=PICTURE)] = False,
    size: Annotated[
        int | None, typer.Option(help="Width in pixels.", metavar="N", rich_help_panel=PICTURE)
    ] = None,
    frames: Annotated[
        int | None, typer.Option(help="Frames of the animation.", metavar="N", rich_help_panel=PICTURE)
    ] = None,
    speed: Annotated[
        float, typer.Option(help="The animation so many times as fast.", rich_help_panel=PICTURE)
    ] = 1.0,
    lowering: Annotated[
        str, typer.Option(help="im2col, or tiles: winograd 2, 4 or 6.", rich_help_panel=PICTURE)
    ] = "im2col",
    json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Draw how a convolution becomes one matrix product.

    Input channels as coloured sheets, the kernel flattened to its row, the unrolled input with each element in the
    colour of where it came from, and the output. Layers too large for a page are drawn as a sample, with true sizes.

    Examples:

      convmat draw --example demo.gif

      convmat draw 1x3x8x8 4x3x3x3 layer.svg --padding 1

      convmat draw 1x64x56x56 128x64x3x3 layer.png -s 2 -p 1 --dark --size 1600

      convmat draw 1x2x24 4x2x5 sound.gif -s 2 --speed 2        (one axis: sound)

      convmat draw 1x2x6x6 1x2x3x3 tiles.gif --lowering "winograd 2"

      convmat draw image.npy filter.npy mine.svg                (your own numbers)
    """
    import convmat
    from convmat.explain.picture.draw import draw_example

    operands, path = _split("draw", words, example)
    with screen.progress("drawing") as tell:

        def progress(done: int, count: int) -> None:
            tell(f"drawing: frame {done} of {count}")

        how: dict[str, Any] = {
            "dark": dark, "size": size, "frames": frames, "speed": speed, "lowering": lowering, "progress": progress,
        }  # fmt: skip
        if example:
            made = draw_example(path, **how)
        else:
            given = options.keywords(
                stride=stride, padding=padding, dilation=dilation, groups=groups, dtype=dtype
            )
            plan = convmat.plan(*(shape for shape, _ in operands), **given)
            made = plan.draw(path, **dict(zip("xw", (array for _, array in operands), strict=True)), **how)
    report(made, json)


def report(path: Path, json: bool) -> None:
    """Say which file was written, and how large it is."""
    size = path.stat().st_size
    if json:
        screen.as_json({"path": str(path), "bytes": size})
    else:
        typer.echo(f"{path}, {size:,} bytes")


def _split(call: str, words: list[str], example: bool) -> tuple[list[tuple[tuple[int, ...], Any]], str]:
    """Two shapes with the arrays, if any, and a file; with the example a file alone. Raises PlanError."""
    wanted = 1 if example else 3
    if len(words) != wanted:
        what = "a file alone" if example else "the shapes of input and weights, and a file"
        how = f"--example {words[-1]}" if example else "1x3x8x8 4x3x3x3 layer.svg"
        raise PlanError(
            f"{call}: {'--example needs' if example else 'it needs'} {what}\n"
            f"  given: {' '.join(words)}\n  e.g. convmat {call} {how}"
        )
    return [parse.operand(name, text) for name, text in zip("xw", words[:-1], strict=False)], words[-1]
