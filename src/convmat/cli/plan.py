"""`convmat plan`: how a convolution of given shapes would run, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from convmat.cli import options, parse, screen
from convmat.cli.options import CHOICE


def plan(
    x: Annotated[str, typer.Argument(help="Shape of the input, BxCxI: 1x64x56x56.", show_default=False)],
    w: Annotated[
        str,
        typer.Argument(
            help="Shape of the weights, Ox(C/groups)xF: 128x64x3x3; with --transposed Cx(O/groups)xF.",
            show_default=False,
        ),
    ],
    stride: options.Stride = "1",
    padding: options.Padding = "0",
    dilation: options.Dilation = "1",
    groups: options.Groups = 1,
    transposed: options.Transposed = False,
    output_padding: options.OutputPadding = "0",
    direction: options.Direction = "forward",
    dtype: options.Dtype = "float32",
    layout: options.Layout = "NCHW",
    padding_mode: options.PaddingMode = "zeros",
    bias: options.Bias = False,
    residual: options.Residual = False,
    activation: options.Activation = "",
    lowering: options.Lowering = "",
    engine: options.Engine = "",
    workspace_limit: options.WorkspaceLimit = "",
    rtol: options.Rtol = None,
    exact: options.Exact = False,
    weight_limit: options.WeightLimit = "",
    deterministic: options.Deterministic = False,
    tune: Annotated[
        str,
        typer.Option(
            help="Measure before choosing: none, quick or full; remembered.", rich_help_panel=CHOICE
        ),
    ] = "none",
    once: options.Once = False,
    threads: options.Threads = None,
    compare: Annotated[
        bool, typer.Option("--compare", "-c", help="Run every way on random numbers, and time it.")
    ] = False,
    why: Annotated[
        bool, typer.Option("--why", help="Say why this way, and what each other one would take.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Show how a convolution would run: every way with its cost or its refusal, the chosen one, and why.

    Nothing is computed, and nothing allocated, unless you ask to --compare or to --tune.

    Examples:

      convmat plan 1x64x56x56 128x64x3x3 --stride 2 --padding 1

      convmat plan 8x96x112x112 96x1x3x3 -s 2 -p 1 -g 96        (depthwise)

      convmat plan 1x64x28x28 64x32x4x4 -s 2 -p 1 --transposed

      convmat plan 1x56x56x64 64x64x3x3 --layout NHWC --direction weight

      convmat plan 1x1x16000 64x1x400 -s 160 --compare          (one axis: sound)

      convmat plan 1x64x56x56 64x64x3x3 -p 1 --weight-limit 200KiB --why

      convmat plan 1x64x56x56 64x64x3x3 -p 1 --tune full
    """
    import convmat

    given = options.keywords(
        stride=stride, padding=padding, dilation=dilation, groups=groups, transposed=transposed,
        output_padding=output_padding, direction=direction, dtype=dtype, layout=layout, padding_mode=padding_mode,
        bias=bias, residual=residual, activation=activation, lowering=lowering, engine=engine,
        workspace_limit=workspace_limit, rtol=rtol, exact=exact, weight_limit=weight_limit, deterministic=deterministic,
        once=once, threads=threads,
    )  # fmt: skip
    with screen.progress("planning") as tell:
        found = convmat.plan(
            parse.shape("x", x),
            parse.shape("w", w),
            tune=tune,
            progress=lambda done, steps: tell(f"measuring: {done} of {steps}"),
            **given,
        )
        compared = found.compare(progress=tell) if compare else None

    from convmat.explain.terminal import plan_report

    measured = {m.way.candidate: m for m in compared.measured if m.way.candidate} if compared else {}
    if json:
        screen.as_json(plan_report.as_dict(found, measured))
    elif why:
        for line in found.why().splitlines():
            screen.console().print(line, markup=False)
    else:
        plan_report.show(found, screen.console(), measured)
        if compared:
            screen.console().print(compared.verdict(), markup=False)
