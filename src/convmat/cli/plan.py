"""`convmat plan`: how a convolution of given shapes would run, and why."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from convmat.cli import parse, screen

CONVOLUTION, ARRAYS, CHOICE = "The convolution", "Its arrays", "What may be chosen"
"""The panels of options in the help."""


def plan(
    x: Annotated[str, typer.Argument(help="Shape of the input, BxCxI: 1x64x56x56.", show_default=False)],
    w: Annotated[
        str,
        typer.Argument(
            help="Shape of the weights, Ox(C/groups)xF: 128x64x3x3; with --transposed Cx(O/groups)xF.",
            show_default=False,
        ),
    ],
    stride: Annotated[
        str,
        typer.Option("--stride", "-s", help="A number, or one per axis: 2,1.", rich_help_panel=CONVOLUTION),
    ] = "1",
    padding: Annotated[
        str,
        typer.Option(
            "--padding",
            "-p",
            help="A number, one per axis, before:after per axis, valid, same, same_lower.",
            rich_help_panel=CONVOLUTION,
        ),
    ] = "0",
    dilation: Annotated[
        str, typer.Option("--dilation", "-d", help="A number, or one per axis.", rich_help_panel=CONVOLUTION)
    ] = "1",
    groups: Annotated[
        int,
        typer.Option(
            "--groups", "-g", help="Groups of channels; C for depthwise.", rich_help_panel=CONVOLUTION
        ),
    ] = 1,
    transposed: Annotated[
        bool, typer.Option("--transposed", help="A transposed convolution.", rich_help_panel=CONVOLUTION)
    ] = False,
    output_padding: Annotated[
        str, typer.Option(help="With --transposed: a number, or one per axis.", rich_help_panel=CONVOLUTION)
    ] = "0",
    direction: Annotated[
        str, typer.Option(help="forward, or the gradient in input or weight.", rich_help_panel=CONVOLUTION)
    ] = "forward",
    dtype: Annotated[
        str,
        typer.Option(
            help="float32, float64, float16, bfloat16, complex64, complex128, int8, uint8.",
            rich_help_panel=ARRAYS,
        ),
    ] = "float32",
    layout: Annotated[
        str, typer.Option(help="Channels second, NCHW, or last, NHWC; at any rank.", rich_help_panel=ARRAYS)
    ] = "NCHW",
    padding_mode: Annotated[
        str, typer.Option(help="zeros, reflect, edge or wrap.", rich_help_panel=CONVOLUTION)
    ] = "zeros",
    bias: Annotated[bool, typer.Option("--bias", help="With a bias.", rich_help_panel=ARRAYS)] = False,
    residual: Annotated[
        bool, typer.Option("--residual", help="With a residual that is added.", rich_help_panel=ARRAYS)
    ] = False,
    activation: Annotated[
        str, typer.Option(help="relu, silu, clip:0,6 and so on.", rich_help_panel=ARRAYS)
    ] = "",
    lowering: Annotated[
        str, typer.Option(help="Force a way by name: im2col, mec and so on.", rich_help_panel=CHOICE)
    ] = "",
    engine: Annotated[str, typer.Option(help="Force an engine: jit or blas.", rich_help_panel=CHOICE)] = "",
    workspace_limit: Annotated[
        str, typer.Option(help="Scratch that may be allocated: 16MiB.", rich_help_panel=CHOICE)
    ] = "",
    rtol: Annotated[
        float | None,
        typer.Option(help="Norm-wise error to spend on fewer multiplications.", rich_help_panel=CHOICE),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Spend none.", rich_help_panel=CHOICE)] = False,
    once: Annotated[
        bool,
        typer.Option(
            "--once", help="Weights used once: packing them counts, as in conv().", rich_help_panel=CHOICE
        ),
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            "-t",
            min=1,
            max=1024,
            metavar="N",
            help="Threads; default: the cores allowed.",
            rich_help_panel=CHOICE,
        ),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", "-m", help="Run every way on random numbers, and time it.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Show how a convolution would run: every way with its cost or its refusal, the chosen one, and why.

    Nothing is computed, and nothing allocated, unless you ask to --measure.

    Examples:

      convmat plan 1x64x56x56 128x64x3x3 --stride 2 --padding 1

      convmat plan 8x96x112x112 96x1x3x3 -s 2 -p 1 -g 96        (depthwise)

      convmat plan 1x64x28x28 64x32x4x4 -s 2 -p 1 --transposed

      convmat plan 1x56x56x64 64x64x3x3 --layout NHWC --direction weight

      convmat plan 1x1x16000 64x1x400 -s 160 --measure          (one axis: sound)

      convmat plan 1x64x56x56 64x64x3x3 --workspace-limit 512KiB --json
    """
    import convmat

    if threads is not None:
        convmat.threads(threads)
    options: dict[str, Any] = {
        "stride": parse.numbers("stride", stride),
        "padding": parse.padding(padding),
        "dilation": parse.numbers("dilation", dilation),
        "groups": groups,
        "activation": parse.activation(activation) if activation else None,
        "layout": layout,
        "lowering": lowering or None,
        "engine": engine or None,
        "rtol": rtol,
        "exact": exact,
        "bias": bias,
        "residual": residual,
        "direction": direction,
        "reuse_weights": not once,
        "dtype": dtype,
    }
    if workspace_limit:
        options["workspace_limit"] = parse.size("workspace_limit", workspace_limit)
    shapes = parse.shape("x", x), parse.shape("w", w)
    found = convmat.plan(
        *shapes,
        padding_mode=padding_mode,
        transposed=transposed,
        output_padding=parse.numbers("output_padding", output_padding),
        **options,
    )

    from convmat.explain import plan_report, ways

    measured = {}
    if measure:
        with screen.progress("packing weights") as tell:
            timed = ways.measure(ways.of_plan(found, *ways.operands(found.problem)), tell=tell)
        measured = {each.way.candidate: each for each in timed if each.way.candidate}
    if json:
        screen.as_json(plan_report.as_dict(found, measured))
    else:
        plan_report.show(found, screen.console(), measured)
