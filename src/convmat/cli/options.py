"""What a convolution is on the command line: options that several commands take, and the keywords they become."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from convmat.cli import parse

CONVOLUTION, ARRAYS, CHOICE = "The convolution", "Its arrays", "What may be chosen"
"""The panels of options in the help."""

Stride = Annotated[
    str,
    typer.Option("--stride", "-s", help="A number, or one per axis: 2,1.", rich_help_panel=CONVOLUTION),
]
Padding = Annotated[
    str,
    typer.Option(
        "--padding",
        "-p",
        help="A number, one per axis, before:after per axis, valid, same, same_lower.",
        rich_help_panel=CONVOLUTION,
    ),
]
Dilation = Annotated[
    str, typer.Option("--dilation", "-d", help="A number, or one per axis.", rich_help_panel=CONVOLUTION)
]
Groups = Annotated[
    int,
    typer.Option("--groups", "-g", help="Groups of channels; C for depthwise.", rich_help_panel=CONVOLUTION),
]
Counted = Annotated[str, typer.Option(help="What bytes are counted in.", rich_help_panel=CONVOLUTION)]
Example = Annotated[
    bool, typer.Option("--example", "-e", help="The worked example with its numbers, instead of shapes.")
]
Transposed = Annotated[
    bool, typer.Option("--transposed", help="A transposed convolution.", rich_help_panel=CONVOLUTION)
]
OutputPadding = Annotated[
    str, typer.Option(help="With --transposed: a number, or one per axis.", rich_help_panel=CONVOLUTION)
]
Direction = Annotated[
    str, typer.Option(help="forward, or the gradient in input or weight.", rich_help_panel=CONVOLUTION)
]
Dtype = Annotated[
    str,
    typer.Option(
        help="float32, float64, float16, bfloat16, complex64, complex128, int8, uint8.",
        rich_help_panel=ARRAYS,
    ),
]
Layout = Annotated[
    str, typer.Option(help="Channels second, NCHW, or last, NHWC; at any rank.", rich_help_panel=ARRAYS)
]
PaddingMode = Annotated[
    str, typer.Option(help="zeros, reflect, symmetric, edge or wrap.", rich_help_panel=CONVOLUTION)
]
Bias = Annotated[bool, typer.Option("--bias", help="With a bias.", rich_help_panel=ARRAYS)]
Residual = Annotated[
    bool, typer.Option("--residual", help="With a residual that is added.", rich_help_panel=ARRAYS)
]
Activation = Annotated[str, typer.Option(help="relu, silu, clip:0,6 and so on.", rich_help_panel=ARRAYS)]
Lowering = Annotated[
    str, typer.Option(help="Force a way by name: im2col, mec and so on.", rich_help_panel=CHOICE)
]
Engine = Annotated[str, typer.Option(help="Force an engine: jit or blas.", rich_help_panel=CHOICE)]
WorkspaceLimit = Annotated[
    str, typer.Option(help="Scratch that may be allocated: 16MiB.", rich_help_panel=CHOICE)
]
Rtol = Annotated[
    float | None,
    typer.Option(help="Norm-wise error to spend on fewer multiplications.", rich_help_panel=CHOICE),
]
Exact = Annotated[bool, typer.Option("--exact", help="Spend none.", rich_help_panel=CHOICE)]
WeightLimit = Annotated[str, typer.Option(help="Bytes of bound weights: 4MiB.", rich_help_panel=CHOICE)]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="No choice by timing.", rich_help_panel=CHOICE)
]
Once = Annotated[
    bool,
    typer.Option(
        "--once", help="Weights used once: packing them counts, as in conv().", rich_help_panel=CHOICE
    ),
]
Threads = Annotated[
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
]


def keywords(**typed: Any) -> dict[str, Any]:
    """The keywords of `convmat.plan` for options as they were typed, under the names of `Stride` and the rest.

    Sets the number of threads, if one is given. Raises GeometryError or PlanError for what is not understood.

    >>> keywords(stride="2,1", groups=1, lowering="")
    {'stride': (2, 1), 'groups': 1, 'lowering': None}
    """
    import convmat

    threads = typed.pop("threads", None)
    if threads is not None:
        convmat.threads(threads)
    made: dict[str, Any] = {}
    for name, value in typed.items():
        if name in ("stride", "dilation", "output_padding"):
            made[name] = parse.numbers(name, value)
        elif name == "padding":
            made[name] = parse.padding(value)
        elif name == "activation":
            made[name] = parse.activation(value) if value else None
        elif name in ("workspace_limit", "weight_limit"):
            made[name] = parse.size(name, value) if value else None
        elif name in ("lowering", "engine"):
            made[name] = value or None
        elif name == "once":
            made["reuse_weights"] = not value
        else:
            made[name] = value
    return made
